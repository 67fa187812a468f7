"""How well each class does: precision, recall and F1 from a confusion matrix, as files."""

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


def write_per_class(folder: Path, stage: str, matrix: np.ndarray, classes: list[str]) -> None:
    """Writes `<stage>_per_class.csv` and `<stage>_confusion.csv` (rows true, columns predicted) into a folder."""
    figures = per_class(matrix)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{stage}_per_class.csv", [["class", *figures], *zip(classes, *figures.values(), strict=True)])
        rows = ([name, *counts] for name, counts in zip(classes, matrix.tolist(), strict=True))
        _write(folder / f"{stage}_confusion.csv", [["true", *classes], *rows])


def read_per_class(path: Path) -> list[dict[str, str]]:
    """What `write_per_class` wrote, the lowest F1 first."""
    with path.open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: (row["f1"] != "nan", float(row["f1"])))


def _write(path: Path, rows: list) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
