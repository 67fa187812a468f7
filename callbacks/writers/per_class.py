"""Metrics per class and confusion matrix, as CSV."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modules.contracts import writing
from modules.metrics.detection import PREFIX, Report
from modules.metrics.detection_arrays import Kind


def per_class(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of each class from int64 (C, C) counts, rows true, columns predicted; nan for 0 / 0.

    Returns:
        `count` true samples, `precision`, `recall` and `f1`, each (C,).
    """
    return rates(matrix.diagonal(), matrix.sum(1), matrix.sum(0))


def rates(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """The same from counts of right, true and predicted ones, int64 (C,) each."""
    with np.errstate(invalid="ignore", divide="ignore"):
        metrics = {"precision": right / predicted, "recall": right / true, "f1": 2 * right / (true + predicted)}
    return {"count": true, **metrics}


def per_class_of_pixels(matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of each class from int64 (C, C) pixels, as `per_class`, under the names of segmentation.

    Returns:
        `pixels` (true ones), `iou` (Jaccard), `accuracy` (recall), `precision` and `dice` (F1), each
        (C,).
    """
    metrics = per_class(matrix)
    right, either = matrix.diagonal(), matrix.sum(1) + matrix.sum(0) - matrix.diagonal()
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = right / either
    accuracy, precision, dice = (metrics[name] for name in ("recall", "precision", "f1"))
    return {"pixels": metrics["count"], "iou": iou, "accuracy": accuracy, "precision": precision, "dice": dice}


def per_class_of_objects(reports: Mapping[Kind, Report]) -> dict[str, np.ndarray]:
    """Metrics of each class of objects; nan for a class without any.

    Returns:
        `objects` (true ones), `ap`, `ap50` and, if enabled, `voc_ap50` of boxes; the same of masks or keypoints, if
        any, with the prefix `mask_` or `keypoint_`; each (C,).
    """
    metrics = {"objects": next(iter(reports.values())).per_class["objects"]}
    for kind, report in reports.items():
        metrics |= {PREFIX[kind] + name: values for name, values in report.per_class.items() if name != "objects"}
    return metrics


MAIN_METRICS = {
    "pq": "PQ",
    "iou": "IoU",
    "f1": "F1",
    "mask_ap": "mask AP",
    "keypoint_ap": "keypoint AP",
    "ap": "AP",
}
"""Main metric of a table: the first of these columns that it has -> name in text."""


def write_per_class(folder: Path, stage: str, metrics: dict[str, np.ndarray], classes: list[str]) -> None:
    """Write `<stage>_per_class.csv`: a row per class, a column per metric."""
    write_csv(folder / f"{stage}_per_class.csv", [["class", *metrics], *zip(classes, *metrics.values(), strict=True)])


def write_confusion(folder: Path, stage: str, matrix: np.ndarray, classes: list[str]) -> None:
    """Write `<stage>_confusion.csv`: rows true, columns predicted."""
    rows = ([name, *counts] for name, counts in zip(classes, matrix.tolist(), strict=True))
    write_csv(folder / f"{stage}_confusion.csv", [["true", *classes], *rows])


def lowest_first(metrics: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """Main metric of a table (of `MAIN_METRICS`), and the indices of its classes, lowest first, nan last."""
    main = next(name for name in MAIN_METRICS if name in metrics)
    return main, np.argsort(metrics[main], kind="stable")


def write_csv(path: Path, rows: list) -> None:
    """Write rows as CSV, floats with six significant digits, and make the folders above."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:  # names may be no UTF-8
            csv.writer(file).writerows([f"{c:.6g}" if isinstance(c, float) else c for c in row] for row in rows)
