"""Prediction files of `predict`, `test` and `validate`."""

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from callbacks.writers.coco_results import ResultFile
from callbacks.writers.masks import MaskFiles
from callbacks.writers.objects import ObjectImages
from callbacks.writers.samples import SampleFiles
from callbacks.writers.sentences import TextFiles
from callbacks.writers.tables import Arrays, Table, about, open_text
from modules.contracts import SURPLUS, Batch, ConfigError, Prediction, writing
from modules.metrics.threshold import USUAL


class Predictions(Callback):
    """Write predictions of `predict`, `test` and `validate` to `<run>/predictions/`.

    A file under its final name is complete. Names of files begin with `predict`, `test` or `val`. By keys of the
    prediction:

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
        self.excerpts: dict[Path, list[str]] = {}  # first lines of files of text that `predict` wrote
        self._file: SampleFiles | TextFiles | Detections | LabelTable | MaskFiles | FeatureArrays | None = None

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
        kind = next((kind for kind in KINDS if kind.fits(outputs)), None)
        if kind is not None:
            settings = {"threshold": self.threshold} if kind is Detections else {}
            self._file = self._file or kind(trainer, pl_module, batch, **settings)
            if trainer.world_size > 1:  # processes take whole batches in turn
                self._file.turn = batch_idx * trainer.world_size + trainer.global_rank
            self._file.add(batch, outputs)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        file, self._file = self._file, None
        if file:
            file.close()
        trainer.strategy.barrier()
        if file and trainer.is_global_zero:
            self.files += file.merge(trainer.world_size)
            self.notes += getattr(file, "notes", [])
            if trainer.predicting:
                self.excerpts |= getattr(file, "excerpts", {})

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, *rest: Any
    ) -> None:
        if outputs and "generated" not in outputs:  # what is generated for a test is drawn, and can be had any time
            self.on_predict_batch_end(trainer, pl_module, outputs, *rest)

    on_test_end = on_predict_end

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction | None, *rest: Any
    ) -> None:
        if trainer.state.fn == "validate":
            self.on_test_batch_end(trainer, pl_module, outputs, *rest)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "validate":
            self.on_predict_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._file:
            self._file.discard()
            self._file = None


class LabelTable(Table):
    """Predicted classes and probabilities as CSV; `true` where the first batch has labels."""

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        path = Path(trainer.default_root_dir) / "predictions" / f"{about(trainer)}.csv"
        truth = ["true"] if "label" in batch else []
        columns = ["path", "label", *truth, *(f"p({name})" for name in task.classes)]
        super().__init__(path, trainer.global_rank, columns)
        self.classes = task.classes

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return {"label", "scores"} <= outputs.keys()

    def add(self, batch: Batch, outputs: Prediction) -> None:
        known = [outputs["label"], *([batch["label"]] if "label" in batch else [])]
        columns = [[self.classes[index] for index in labels.tolist()] for labels in known]
        scores = ([f"{score:.6f}" for score in row] for row in outputs["scores"].tolist())
        self.write([*names, *row] for *names, row in zip(batch["id"], *columns, scores, strict=True))


class FeatureArrays(Arrays):
    """Features as npz, with labels where they are known."""

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch) -> None:
        name = "features.npz" if trainer.predicting else f"{about(trainer)}_features.npz"
        super().__init__(Path(trainer.default_root_dir) / "predictions" / name, trainer.global_rank)

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return "features" in outputs

    def add(self, batch: Batch, outputs: Prediction) -> None:
        self.write(batch["id"], outputs["features"], batch.get("label"))


class Detections(ResultFile):
    """Boxes, classes and scores, perhaps masks, under the ids of the data's annotations where it has some.

    `predict` draws them too.
    """

    def __init__(self, trainer: Trainer, task: LightningModule, batch: Batch, threshold: float | None) -> None:
        data, name = trainer.datamodule, f"{about(trainer)}.json"
        categories = data.category_ids or list(range(1, len(task.classes) + 1))
        path = Path(trainer.default_root_dir) / "predictions" / name
        super().__init__(path, trainer.global_rank, categories, data.image_ids)
        self.classes = task.classes
        self.images: ObjectImages | None = None
        if trainer.predicting:
            sure = _drawn_from(threshold, task.drawing_threshold)
            self.images = ObjectImages(path.parent, trainer.global_rank, task, sure)

    @staticmethod
    def fits(outputs: Prediction) -> bool:
        return "boxes" in outputs

    def add(self, batch: Batch, outputs: Prediction) -> None:
        super().add(batch["id"], outputs)
        if self.images:
            self.images.add(batch, outputs)

    def merge(self, world: int) -> list[Path]:
        written = [*super().merge(world), self._table()]
        return written + (self.images.finalize(self.names) if self.images else [])

    def _table(self) -> Path:
        """Write the class of each `category_id`."""
        path = self.results.with_name("classes.csv")
        with writing(path), open_text(path, "w") as file:
            csv.writer(file).writerows([("id", "name"), *zip(self.category_ids, self.classes, strict=True)])
        return path


def _drawn_from(typed: float | None, best: float | None) -> float:
    """Lowest score of drawn detections: as typed, else that of the best F1, else the default."""
    if typed is not None:
        return typed
    why = "that of the best F1 in the checkpoint's validation" if best else "as the checkpoint knows no best F1"
    sure = best or USUAL
    rank_zero_info(f"drawing detections of score {sure:.2f} and more, {why}: --predictions.threshold sets another")
    return sure


KINDS = (SampleFiles, TextFiles, Detections, LabelTable, MaskFiles, FeatureArrays)
