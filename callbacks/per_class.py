"""How well each class does, from a confusion matrix, as files."""

import csv
from pathlib import Path

import numpy as np

from modules.contracts import writing


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each class from int64 (C, C) counts, rows true, columns predicted; nan where nothing is to divide by.

    Returns:
        `count` true samples, `precision`, `recall` and `f1`, each (C,).
    """
    right, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return {"count": true, **figures}


def per_class_of_pixels(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of each class from int64 (C, C) pixels, as `per_class` but under the names that segmentation uses.

    Returns:
        `pixels` that are truly of the class, `iou` (Jaccard), `accuracy` (recall), `precision` and `dice` (F1), each
        (C,).
    """
    figures = per_class(matrix)
    right, either = matrix.diagonal(), matrix.sum(1) + matrix.sum(0) - matrix.diagonal()
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = right / either
    accuracy, precision, dice = (figures[name] for name in ("recall", "precision", "f1"))
    return {"pixels": figures["count"], "iou": iou, "accuracy": accuracy, "precision": precision, "dice": dice}


JUDGED = {"iou": "IoU", "f1": "F1"}
"""The column that a table is judged by, as people write it."""


def write_per_class(
    folder: Path, stage: str, figures: dict[str, np.ndarray], matrix: np.ndarray, classes: list[str]
) -> None:
    """Writes `<stage>_per_class.csv` and `<stage>_confusion.csv` (rows true, columns predicted) into a folder."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{stage}_per_class.csv", [["class", *figures], *zip(classes, *figures.values(), strict=True)])
        rows = ([name, *counts] for name, counts in zip(classes, matrix.tolist(), strict=True))
        _write(folder / f"{stage}_confusion.csv", [["true", *classes], *rows])


def read_per_class(path: Path) -> tuple[str, list[dict[str, str]]]:
    """What `write_per_class` wrote: the column it is judged by, one of `JUDGED`, and the rows, the lowest first."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    judged = next(column for column in JUDGED if column in rows[0])
    return judged, sorted(rows, key=lambda row: (row[judged] != "nan", float(row[judged])))


def _write(path: Path, rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
