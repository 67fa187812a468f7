"""Confident learning: probable label errors from out-of-sample probabilities (Northcutt et al. 2021)."""

import numpy as np

TOLERANCE = 1e-6  # within which two probabilities count as equal


def probable_label_errors(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Indices of samples whose label is probably wrong, the least credible label first.

    These are the samples off the diagonal of the confident joint: a class other than the given one is at least as
    probable as it is on average for the samples labeled with it. Of several such classes the most probable one counts.
    They are ranked by self-confidence, the probability of the given label. Samples whose most probable class is the
    given one are none.

    Args:
        probabilities: of each class (N, C), of a model that was not trained on these samples.
        labels: given labels int (N,), 0..C-1.
    """
    own, predicted = probabilities[np.arange(len(labels)), labels], probabilities.argmax(1)
    thresholds = np.full(probabilities.shape[1], np.inf)  # of classes that no label names
    for label in np.unique(labels):
        thresholds[label] = max(own[labels == label].mean(dtype=np.float64), 2 * TOLERANCE)
    confident = probabilities >= thresholds - TOLERANCE
    count = confident.sum(1)
    joint = np.where(count > 1, predicted, confident.argmax(1))
    chosen = (count > 0) & (joint != labels) & (probabilities.max(1) > own + TOLERANCE)
    found = np.flatnonzero(chosen)
    return found[np.argsort(own[found], kind="stable")]
