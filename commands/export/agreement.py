"""Comparison of two programs' predictions for the same samples: differences of numbers, agreement of decisions."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Predictions = Sequence[dict[str, Any]]


class Difference(NamedTuple):
    """Difference of one key of all predictions.

    Args:
        key: of the predictions.
        agreement: share of equal decisions, 0..1; null for a key that holds no decision.
        largest: largest absolute difference of the numbers; null for decisions.
        mean: mean absolute difference.
        relative: the largest, relative to the largest absolute number of that key in PyTorch's predictions.
    """

    key: str
    agreement: float | None = None
    largest: float | None = None
    mean: float | None = None
    relative: float | None = None


class Tolerance(NamedTuple):
    """Largest relative difference and smallest agreement of decisions with which a file is not refused.

    Args:
        relative: of numbers; null for any.
        agreement: of decisions, a class or a text each.
        pixels: of the pixels of masks, whose edges hold ties.
    """

    relative: float | None
    agreement: float
    pixels: float


TOLERANCES = {
    "float32": Tolerance(1e-3, 1.0, 0.9999),
    "float16": Tolerance(5e-2, 0.98, 0.995),
    "int8": Tolerance(None, 0.9, 0.9),
}
"""By the precision of the file."""

PIXELS = ("mask",)


def differences(reference: Predictions, found: Predictions) -> list[Difference]:
    """Difference of each key of two lists of predictions of the same samples, PyTorch's first."""
    for keys, compare in COMPARISONS.items():
        if keys <= reference[0].keys():
            return compare(reference, found)
    return [_difference(key, [r[key] for r in reference], [f[key] for f in found]) for key in reference[0]]


def refusals(found: Sequence[Difference], tolerance: Tolerance) -> list[str]:
    """Sentences on the differences beyond the tolerance; empty if there are none."""
    said = []
    for one in found:
        least = tolerance.pixels if one.key in PIXELS else tolerance.agreement
        if one.agreement is not None and one.agreement < least:
            said.append(f"{one.agreement:.4%} of its {one.key} decisions are equal, but {least:.2%} must be")
        if one.relative is not None and not np.isfinite(one.relative):
            said.append(f"its {one.key} are not finite")
        elif one.relative is not None and tolerance.relative is not None and one.relative > tolerance.relative:
            said.append(f"{one.key} differs by {one.relative:.2g}, but {tolerance.relative:g} is allowed")
    return said


COMPARISONS: dict[frozenset[str], Callable[[Predictions, Predictions], list[Difference]]] = {}
"""Keys of predictions that are compared together -> function; others are compared one by one."""


def _difference(key: str, reference: list[Any], found: list[Any]) -> Difference:
    if isinstance(reference[0], str):
        return Difference(key, float(np.mean([one == other for one, other in zip(reference, found, strict=True)])))
    pairs = [(np.asarray(one), np.asarray(other)) for one, other in zip(reference, found, strict=True)]
    if any(one.shape != other.shape for one, other in pairs):
        return Difference(key, agreement=0.0)
    if all(one.dtype.kind in "iub" for one, _ in pairs):
        return Difference(key, float(np.mean([np.mean(one == other) for one, other in pairs])))
    apart = [np.abs(one.astype(np.float64) - other) for one, other in pairs]
    largest = max(float(one.max(initial=0)) for one in apart)
    scale = max(float(np.abs(one).max(initial=0)) for one, _ in pairs)
    mean = float(np.mean([one.mean() for one in apart if one.size] or [0.0]))
    relative = largest / scale if scale else (0.0 if largest == 0 else np.inf)
    if not all(np.isfinite(other).all() for _, other in pairs):
        largest = relative = np.inf
    return Difference(key, None, largest, mean, relative)
