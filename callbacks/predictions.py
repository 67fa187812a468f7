"""Writes what `predict` and `test` find."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.prediction_files import Arrays, Table
from modules.contracts import Batch, Prediction


class Predictions(Callback):
    """Writes predictions of `predict` and `test` to `<run>/predictions/`; a file under its final name is complete.

    `{label, scores}`: `predict.csv` or `test.csv` with the columns `path`, `label`, where known `true`, and one
    probability per class, `p(<class>)`, written as the batches come. `{features}`: `features.npz` (`test_features.npz`)
    with `ids`, `features` float32 (N, D) and, where known, `labels`; these are held in memory until the end.
    """

    def __init__(self) -> None:
        self.files: list[Path] = []  # written by this process
        self._file: Table | Arrays | None = None

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, batch: Batch, *_: Any
    ) -> None:
        if not outputs:
            return
        folder = Path(trainer.default_root_dir) / "predictions"
        truth = batch.get("label")
        if {"label", "scores"} <= outputs.keys():
            if self._file is None:
                path = folder / ("test.csv" if trainer.testing else "predict.csv")
                self._file = Table(path, trainer.global_rank, pl_module.classes, truth is not None)
            self._file.add(batch["id"], outputs["label"], outputs["scores"], truth)
        elif "features" in outputs:
            if self._file is None:
                path = folder / ("test_features.npz" if trainer.testing else "features.npz")
                self._file = Arrays(path, trainer.global_rank)
            self._file.add(batch["id"], outputs["features"], truth)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
        trainer.strategy.barrier()
        if file and trainer.is_global_zero:
            file.merge(trainer.world_size)
            self.files.append(file.path)

    on_test_batch_end = on_predict_batch_end
    on_test_end = on_predict_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._file:
            self._file.discard()
            self._file = None
