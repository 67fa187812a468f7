"""Predicted classes of images with several, and their probabilities, as CSV."""

from collections.abc import Iterable, Sequence
from typing import cast

from callbacks.writers.base import Source
from callbacks.writers.tables import Table
from modules.contracts import Batch, Prediction

SEPARATOR = "|"


class TagFile(Table):
    """Write the classes found, "cat|dog", and all probabilities as CSV.

    With a column `true` where the first batch has tags.
    """

    def __init__(self, source: Source) -> None:
        self.classes = cast(list[str], source.task.classes)
        truth = ["true"] if "tags" in source.batch else []
        columns = ["path", "tags", *truth, *(f"p({name})" for name in self.classes)]
        super().__init__(source.folder / f"{source.stage}.csv", source.rank, columns)

    def add(self, batch: Batch, prediction: Prediction) -> None:
        known = [prediction["tags"], *([batch["tags"]] if "tags" in batch else [])]
        columns = [[SEPARATOR.join(named(row, self.classes)) for row in tags.tolist()] for tags in known]
        scores = ([f"{score:.6f}" for score in row] for row in prediction["scores"].tolist())
        self.write([*names, *row] for *names, row in zip(batch["id"], *columns, scores, strict=True))


def named(tags: Iterable, classes: Sequence[str]) -> list[str]:
    """Names of the classes that are set, (C,)."""
    return [name for name, tag in zip(classes, tags, strict=True) if tag]
