"""Detections, as COCO results, and drawn on their images."""

import csv
from pathlib import Path
from typing import Any

from callbacks.writers.base import Source
from callbacks.writers.coco_results import ResultFile
from callbacks.writers.objects import ObjectImages
from callbacks.writers.tables import open_text
from modules.contracts import Batch, Prediction, writing
from modules.metrics.threshold import USUAL, in_words


class DetectionFiles(ResultFile):
    """Write boxes, classes and scores, perhaps masks, under the ids of the data's annotations where it has some.

    `predict` draws them too.
    """

    def __init__(self, source: Source) -> None:
        self.classes, data = source.task.classes, source.trainer.datamodule
        categories = data.category_ids or list(range(1, len(self.classes) + 1))
        typed: float | None = source.threshold
        best: Any = source.task.drawing_threshold
        sure = typed if typed is not None else best or USUAL
        super().__init__(source.folder / f"{source.stage}.json", source.rank, categories, data.image_ids, sure)
        self.images: ObjectImages | None = None
        if source.stage == "predict":
            if typed is None:
                why = "that of the best F1 in the checkpoint's validation" if best else "as the checkpoint knows no F1"
                from lightning.pytorch.utilities import rank_zero_info  # slow to import

                least = in_words(sure)
                rank_zero_info(f"drawing detections of score {least} and more, {why}: --predictions.threshold SCORE")
            self.images = ObjectImages(source.folder, source.rank, source.task, data, sure)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        super().add(batch, prediction)
        if self.images:
            self.images.add(batch, prediction)

    def merge(self, world: int) -> list[Path]:
        written = [*super().merge(world), self._table()]
        return written + (self.images.finalize(self.names) if self.images else [])

    def _table(self) -> Path:
        """Write the class of each `category_id`."""
        path = self.results.with_name("classes.csv")
        with writing(path), open_text(path, "w") as file:
            csv.writer(file).writerows([("id", "name"), *zip(self.category_ids, self.classes, strict=True)])
        return path
