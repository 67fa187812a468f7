"""Metrics of images with several classes at once: average precision, and F1 at a threshold of each class."""

import numpy as np

from modules.metrics.threshold import THRESHOLDS, USUAL


def average_precision(score: np.ndarray, true: np.ndarray, counts: np.ndarray | None = None) -> np.ndarray:
    """Average precision as scikit-learn's, the sum over recalls of precision times the step of recall.

    Args:
        score: (N,), equal scores are found together.
        true: 0 or 1 (N,).
        counts: (R, N), how often each item counts in R sets; null counts each once.

    Returns:
        (R,), or (1,) without counts, 0..1; nan for a set without any true item.
    """
    order = np.argsort(-score, kind="stable")
    weight = np.ones((1, len(score))) if counts is None else counts[:, order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    right, every = (np.cumsum(part, 1)[:, ends] for part in (weight * true[order], weight))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(every > 0, right / every, 0)
        return (np.diff(right, prepend=0, axis=1) * precision).sum(1) / right[:, -1]


def best_thresholds(scores: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Threshold of the highest F1 of each class, in hundredths; of several the one in the middle.

    Args:
        scores: (N, C), 0..1.
        tags: 0 or 1 (N, C).

    Returns:
        float32 (C,); .5 for a class that no image has.
    """
    positive = tags.sum(0)
    f1 = np.empty((len(THRESHOLDS), scores.shape[1]))
    for row, threshold in zip(f1, THRESHOLDS, strict=True):
        found = scores >= np.float32(threshold)
        row[:] = 2 * (found & (tags > 0)).sum(0) / np.maximum(found.sum(0) + positive, 1)
    best = [np.flatnonzero(np.isclose(one, one.max())) for one in f1.T]
    chosen = np.array([THRESHOLDS[places[len(places) // 2]] for places in best])
    return np.where(positive > 0, chosen, USUAL).astype(np.float32)


def f1_scores(found: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """F1 of each class from bool (N, C) found and true ones; nan where there is neither."""
    with np.errstate(invalid="ignore"):
        return 2 * (found & tags).sum(0) / (found.sum(0) + tags.sum(0))


def summarize(scores: np.ndarray, tags: np.ndarray, thresholds: np.ndarray) -> dict[str, float]:
    """Metrics of a split; see `MultilabelClassification.protocols`.

    Args:
        scores: (N, C), 0..1.
        tags: bool (N, C).
        thresholds: (C,).
    """
    each = np.array([average_precision(*columns)[0] for columns in zip(scores.T, tags.T, strict=True)])
    found = scores >= thresholds
    return {
        "map": _mean(each),
        "map_micro": float(average_precision(scores.ravel(), tags.ravel())[0]) if scores.size else float("nan"),
        "f1": _mean(f1_scores(found, tags)),
        "f1_micro": float(f1_scores(found.reshape(-1, 1), tags.reshape(-1, 1))[0]),
        "f1_half": _mean(f1_scores(scores >= USUAL, tags)),
        "exact_match": float((found == tags).all(1).mean()) if len(tags) else float("nan"),
    }


def _mean(values: np.ndarray) -> float:
    """Mean of those that are numbers; nan without."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
