"""Statistics of items with several classes at once."""

from typing import ClassVar

import numpy as np

from modules.metrics.bootstrap.records import means
from modules.metrics.bootstrap.statistic import Statistic, Sums
from modules.metrics.multilabel import average_precision
from modules.metrics.threshold import USUAL

CHUNK = 4_000_000  # numbers of a table of resampled sets at once


class Rankings(Statistic):
    """Average precision of items by the scores of each class: the mean over classes, and of all as one.

    Args:
        scores: float32 (N, C).
        tags: bool (N, C).
    """

    kind: ClassVar[str] = "rankings"

    def __init__(self, scores: np.ndarray, tags: np.ndarray):
        self.scores, self.tags = scores, tags

    def values(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        classes = self.scores.shape[1]
        each = np.stack([average_precision(self.scores[:, c], self.tags[:, c], counts) for c in range(classes)])
        known = ~np.isnan(each)
        with np.errstate(invalid="ignore"):
            mean = np.where(known, each, 0).sum(0) / known.sum(0)
        rows = max(1, CHUNK // max(1, self.scores.size))
        flat = self.scores.ravel(), self.tags.ravel()
        parts = (np.repeat(counts[start : start + rows], classes, 1) for start in range(0, len(counts), rows))
        return {"map": mean, "map_micro": np.concatenate([average_precision(*flat, part) for part in parts])}

    def arrays(self) -> dict[str, np.ndarray]:
        return {"scores": self.scores, "tags": self.tags}

    @classmethod
    def of(cls, **arrays: np.ndarray) -> "Rankings":
        return cls(arrays["scores"], arrays["tags"])


def of_tags(columns: dict[str, np.ndarray], thresholds: np.ndarray) -> list[Statistic]:
    """Statistics of images by their columns `scores` and `tags` (N, C), and others that are means.

    Args:
        columns: of N images.
        thresholds: (C,), from which on a class is found.
    """
    rest = dict(columns)
    if "scores" not in rest:  # no item was tested
        return []
    scores, tags = rest.pop("scores"), rest.pop("tags").astype(bool)
    found = scores >= thresholds
    f1 = Sums("tags", ["f1", "f1_micro"], _counts(found, tags))
    half = Sums("tags", ["f1_half"], _counts(scores >= USUAL, tags))
    return [*means(rest | {"exact_match": (found == tags).all(1)}), f1, half, Rankings(scores, tags)]


def _counts(found: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Right, true and found classes of each item, (N, 3 C)."""
    return np.concatenate([found & tags, tags, found], 1)
