"""Predicted classes and probabilities, as CSV."""

from callbacks.writers.base import Source
from callbacks.writers.tables import Table
from modules.contracts import Batch, Prediction


class LabelFile(Table):
    """Write predicted classes and probabilities as CSV, with a column `true` where the first batch has labels."""

    def __init__(self, source: Source) -> None:
        self.classes = source.task.classes
        truth = ["true"] if "label" in source.batch else []
        columns = ["path", "label", *truth, *(f"p({name})" for name in self.classes)]
        super().__init__(source.folder / f"{source.stage}.csv", source.rank, columns)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        known = [prediction["label"], *([batch["label"]] if "label" in batch else [])]
        columns = [[self.classes[index] for index in labels.tolist()] for labels in known]
        scores = ([f"{score:.6f}" for score in row] for row in prediction["scores"].tolist())
        self.write([*names, *row] for *names, row in zip(batch["id"], *columns, scores, strict=True))
