"""Records and statistics of classified items."""

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

from modules.contracts import Prediction
from modules.metrics.bootstrap.records import means
from modules.metrics.bootstrap.statistic import Statistic, Sums


def answers(prediction: Prediction, true: Tensor) -> dict[str, Tensor]:
    """Columns (B,) of a batch: label, true label, confidence, and whether the true class is the first, or one of five.

    Args:
        prediction: `label` int64 (B,) and `scores` (B, C).
        true: int64 (B,).
    """
    label, scores = prediction["label"], prediction["scores"]
    columns = {"label": label, "true": true, "confidence": scores.float().gather(1, label[:, None])[:, 0]}
    columns["accuracy"] = label == true
    if scores.shape[1] > 5:
        columns["accuracy_top5"] = (scores.topk(5, 1).indices == true[:, None]).any(1)
    return columns


def of_answers(names: list[str], classes: int, columns: dict[str, np.ndarray]) -> list[Statistic]:
    """Statistics of the columns of `answers` and of others that are means.

    Args:
        names: metrics over all labels: `f1`, `accuracy_macro`, `kappa`.
        classes: C.
        columns: (N,) each.
    """
    rest = dict(columns)
    if "label" not in rest:  # no item was tested
        return []
    label, true, confidence = (rest.pop(name) for name in ("label", "true", "confidence"))
    return [*means(rest), labels(names, true, label, classes), calibration(confidence, columns["accuracy"])]


def labels(names: list[str], true: np.ndarray, predicted: np.ndarray, classes: int) -> Sums:
    """Metrics of N labels, int64 (N,) true and predicted, 0..classes - 1: `f1`, `accuracy_macro`, `kappa`."""
    rows, right = np.arange(len(true)), true == predicted
    columns = [true[right], true + classes, predicted + 2 * classes]
    place = np.concatenate([rows[right], rows, rows]), np.concatenate(columns)
    return Sums("labels", names, csr_array((np.ones(len(place[0])), place), shape=(len(true), 3 * classes)))


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> Sums:
    """Expected calibration error, L1, from the highest probability and bool right of N labels."""
    place = np.searchsorted(np.linspace(0, 1, bins + 1, dtype=np.float32), confidence, side="right") - 1
    table = np.zeros((len(right), 3, bins))
    table[np.arange(len(right)), :, place.clip(0, bins - 1)] = np.stack([np.ones(len(right)), confidence, right], 1)
    return Sums("calibration", ["calibration_error"], table.reshape(len(right), -1))
