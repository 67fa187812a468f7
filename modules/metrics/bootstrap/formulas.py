"""Metrics as functions of sums over items: of R test sets at once, from sums (R, K)."""

from collections.abc import Callable

import numpy as np

Formula = Callable[[np.ndarray, list[str]], dict[str, np.ndarray]]


def means(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Weighted means of values: sums of the weighted values, then of the weights, K each."""
    top, weight = np.split(sums, 2, 1)
    return dict(zip(names, (top / weight).T, strict=True))


def perplexity(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """exp of the mean, of sums as in `means`."""
    return {name: np.exp(value) for name, value in means(sums, names).items()}


def of_labels(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Metrics named in `names` from sums of right, true and predicted labels, C each."""
    right, true, predicted = np.split(sums, 3, 1)
    items, seen = true.sum(1), true + predicted > 0
    accuracy, chance = right.sum(1) / items, (true * predicted).sum(1) / items**2
    known = {
        "f1": _mean(2 * right / (true + predicted), seen),
        "accuracy_macro": _mean(np.where(true > 0, right / true, 0), seen),  # 0 for a class in predictions alone
        "kappa": (accuracy - chance) / (1 - chance),
    }
    return {name: known[name] for name in names}


def calibration(sums: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
    """Expected calibration error from sums of number, confidence and right answers in each bin."""
    number, confidence, right = np.split(sums, 3, 1)
    return {names[0]: np.abs(confidence - right).sum(1) / number.sum(1)}


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean (R,) of the values (R, C) that are counted; nan where none is."""
    return np.where(counted, values, 0).sum(1) / counted.sum(1)


FORMULAS: dict[str, Formula] = {
    "means": means,
    "perplexity": perplexity,
    "labels": of_labels,
    "calibration": calibration,
}
