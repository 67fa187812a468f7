"""Choice of the score threshold of detections: highest F1."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # slow to import
    from torch import Tensor

THRESHOLDS = np.arange(1, 100) / 100
USUAL = 0.5  # default without any true positive
Threshold = float | Sequence[float]
"""Lowest score of a detection that counts: of all classes, or of each."""


def reaches(scores: "Tensor", labels: "Tensor", threshold: Threshold) -> "Tensor":
    """True, bool (N,), for detections of scores (N,) and labels int64 (N,) that reach the threshold of their class."""
    if isinstance(threshold, int | float):
        return scores >= threshold
    return scores >= scores.new_tensor(threshold)[labels]


def in_words(threshold: Threshold) -> str:
    """The threshold, or the lowest and highest of the classes."""
    if isinstance(threshold, int | float):
        return f"{threshold:.2f}"
    return f"{min(threshold):.2f} to {max(threshold):.2f}, by class,"


class Best(NamedTuple):
    """The threshold of the highest F1, a mean over classes, with the means of recall and precision there; 0..1."""

    threshold: float
    f1: float
    recall: float
    precision: float


def best_threshold(recall: np.ndarray, precision: np.ndarray, score: np.ndarray) -> Best | None:
    """Score threshold of the highest F1, in hundredths and the same for all classes.

    Args:
        recall: (R,) ascending, 0..1.
        precision: (C, R) of each class at these recalls, nan for a class without objects.
        score: (C, R) of the detection that reaches the recall, 0 where none does.

    Returns:
        Null where nothing is found above the lowest threshold.
    """
    judged = ~np.isnan(precision).any(1)
    found = (score[judged, :, None] >= THRESHOLDS).sum(1)  # recalls that are reached at each threshold, (C', T)
    if not found.any():
        return None
    at = (found - 1).clip(0)
    recalls = np.where(found > 0, recall[at], 0)
    precisions = np.where(found > 0, np.take_along_axis(precision[judged], at, 1), 0)
    f1 = (2 * recalls * precisions / (recalls + precisions).clip(1e-12)).mean(0)
    equal = np.flatnonzero(np.isclose(f1, f1.max()))  # the one in the middle is safest
    best = equal[len(equal) // 2]
    return Best(THRESHOLDS[best].item(), *(values[best].item() for values in (f1, recalls.mean(0), precisions.mean(0))))


def best_of_each(recall: np.ndarray, precision: np.ndarray, score: np.ndarray, default: float) -> list[float]:
    """Score threshold of the highest F1 of each class; see `best_threshold`.

    Args:
        recall: (R,).
        precision: (C, R).
        score: (C, R).
        default: of classes of which nothing is found.
    """
    found = (best_threshold(recall, precision[[i]], score[[i]]) for i in range(len(precision)))
    return [best.threshold if best else default for best in found]
