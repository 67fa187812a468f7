"""Trivial baselines of semantic segmentation: mIoU of maps predicted without looking at the image."""

import numpy as np

from datamodules.cache import cached, digest
from datamodules.pairs import Pairs

FINEST = 512  # positions that are told apart along the longer side

Part = tuple[Pairs, np.ndarray]
"""A split: pairs, and the indices (N,) of those in use."""


def most_frequent(train: np.ndarray, judged: np.ndarray) -> float:
    """Majority baseline: mIoU of one class everywhere, the most frequent in training.

    Args:
        train: pixels of each class, int64 (C,).
        judged: the same of the maps that are predicted.
    """
    chosen, total = train.argmax(), judged.sum()
    seen = np.union1d(np.flatnonzero(judged), chosen)
    return float(judged[chosen] / total / len(seen)) if total else float("nan")


def per_position(train: Part, judged: Part, shape: tuple[int, int]) -> float:
    """Per-position baseline: mIoU of the most frequent training class at each position; all images are of `shape`."""
    known = [part.maps.fingerprint() for part, _ in (train, judged)]
    if None in known:
        return _per_position(train, judged, shape)
    settings = [train[0].legend, *(indices.tolist() for _, indices in (train, judged))]
    return cached("baseline", digest([*known, *settings]), lambda: _per_position(train, judged, shape))


def _per_position(train: Part, judged: Part, shape: tuple[int, int]) -> float:
    learned, truth = (_counts(*part, shape) for part in (train, judged))
    everywhere = learned.sum(1).argmax()
    predicted = np.where(learned.any(0), learned.argmax(0), everywhere)
    confusion = np.zeros((len(truth), len(truth)), np.int64)  # predicted, true
    for c in np.unique(predicted):
        confusion[c] = truth[:, predicted == c].sum(1)
    right = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - right
    return float(np.mean(right[union > 0] / union[union > 0])) if union.any() else float("nan")


def _counts(pairs: Pairs, indices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Number of maps that show each class at each position: int64 (C, positions)."""
    step = -(-max(shape) // FINEST)
    classes, place = len(pairs.legend.values), None
    for index in indices:
        mask = pairs.mask(index)[::step, ::step].ravel()
        if place is None:
            place, counts = np.arange(mask.size), np.zeros((classes + 1, mask.size), np.int64)
        counts[np.minimum(mask, classes), place] += 1
    return counts[:-1]
