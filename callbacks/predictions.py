"""Prediction files of `predict`, `test` and `validate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.kinds.registry import written
from callbacks.results.metrics import check_names
from callbacks.writers.base import Source, Writer, stage_of
from modules.contracts import SURPLUS, Batch, ConfigError, Prediction


class Predictions(Callback):
    """Write predictions of `predict`, `test` and `validate` to `<run>/predictions/`.

    A file under its final name is complete. Names of files begin with `predict`, `test` or `val`. By kind of
    prediction, to which other packages add theirs (`callbacks.kinds.register`):

    - `{label, scores}`: `predict.csv` with the columns `path`, `label`, where known `true`, and one probability per
      class, `p(<class>)`.
    - `{features}`: `features.npz` with `ids`, `features` float32 (N, D) and, where known, `labels`; in memory until
      the end.
    - `{mask}` of `predict`: a map and an overlay of each image, see `MaskFiles`, and `predict.csv` with the columns
      `path` and one share of the pixels per class, `share(<class>)`.
    - `{boxes, labels, scores}`, with or without masks: `predict.json` in COCO's results format, a table of the images,
      see `ResultFile`, and `classes.csv`, the name of each category id; `predict` also draws each image with its
      detections, in `figures/`.
    - `{text}`: `predict.txt`, a sentence per line, and tables with sources and references, see `TextFiles`.
    - `{generated}` of `predict`: images, single and as a grid, see `SampleFiles`.
    - `{styles}` of `predict`: images or videos in each style, see `StylizedFiles`.

    Args:
        threshold: lowest score, 0..1, of drawn detections; null takes that of the best F1 in the checkpoint's
            validation, or 0.5 where it had none. The files hold everything.

    Raises:
        ConfigError: the threshold is not within 0..1.
    """

    def __init__(self, threshold: float | None = None) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigError(f"predictions.threshold is {threshold:g}, but it is a score, 0 to 1")
        self.threshold = threshold
        self.files: list[Path] = []  # and folders, written by this process
        self.notes: list[str] = []  # remarks printed after them
        self.excerpts: dict[Path, Sequence[str]] = {}  # first lines of files that `predict` wrote
        self._file: Writer | None = None

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Prediction | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not outputs or SURPLUS in batch:
            return
        kind = written(outputs)
        if kind is None or stage_of(trainer) not in kind.write.stages:
            return
        if self._file is None:
            check_names(batch, self)
            self._file = kind.write(Source(trainer, pl_module, batch, self.threshold))
        if trainer.world_size > 1:  # processes take whole batches in turn
            self._file.begin_batch(batch_idx * trainer.world_size + trainer.global_rank)
        self._file.add(batch, outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
        trainer.strategy.barrier()
        if file and trainer.is_global_zero:
            self.files += file.merge(trainer.world_size)
            self.notes += file.notes
            if trainer.predicting:
                self.excerpts |= file.excerpts

    on_test_batch_end = on_predict_batch_end
    on_test_end = on_predict_end

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, *rest: Any
    ) -> None:
        if trainer.state.fn == "validate":
            self.on_predict_batch_end(trainer, pl_module, outputs, *rest)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.on_predict_end(trainer, pl_module)

    def report_lines(self, trainer: Trainer) -> list[str]:
        """Files written, with first lines of texts, and remarks on them, for the final report."""
        lines = []
        for path in self.files:
            lines += [f"predictions: {path}", *(f"  {text or '(empty)'}" for text in self.excerpts.get(path, ()))]
        return lines + self.notes

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._file:
            self._file.discard()
            self._file = None
