"""Intervals of results over seeds and test items, alone and as a difference to a reference."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from modules.contracts import DataError
from modules.metrics.bootstrap import Estimate, load
from modules.metrics.bootstrap.resampling import CONFIDENCE, combined, resample

TEST_ITEMS = Path("predictions") / "test_items.npz"


class Judged(NamedTuple):
    """Results of one run on resampled test items; runs on the same items are resampled alike.

    Args:
        ids: of the items in alphabetical order, str (N,).
        resampled: log name -> float64 (R,).
    """

    ids: np.ndarray
    resampled: dict[str, np.ndarray]


class Repeated(NamedTuple):
    """One metric of runs that differ in their seeds alone.

    Args:
        values: of S runs.
        judged: of the same runs; null for those without test items.
        metric: log name.
    """

    values: Sequence[float]
    judged: Sequence[Judged | None]
    metric: str

    @property
    def ids(self) -> np.ndarray | None:
        """Ids of the items that all runs judged; null where they differ or are unknown."""
        known = [each.ids for each in self.judged if each and self.metric in each.resampled]
        same = len(known) == len(self.judged) and all(np.array_equal(ids, known[0]) for ids in known)
        return known[0] if same and known else None

    @property
    def resampled(self) -> np.ndarray:
        """Results (S, R)."""
        return np.stack([each.resampled[self.metric] for each in self.judged if each])

    def interval(self) -> Estimate | None:
        """Mean over seeds; null for a single run without test items, or where it is not a number."""
        if self.ids is None:
            return over_seeds(self.values)
        resampled = self.resampled
        found = combined(np.array(self.values), resampled, len(self.ids))
        if found and resampled.min() >= 0 and resampled.max() <= 1:  # a share
            found = found._replace(low=max(0.0, found.low), high=min(1.0, found.high))
        return found

    def minus(self, other: "Repeated") -> Estimate | None:
        """Mean difference to runs of the same seeds, paired by seed, and by item where both judged the same items."""
        values, ours, theirs = np.subtract(self.values, other.values), self.ids, other.ids
        if ours is None or theirs is None:
            return over_seeds(values)
        if np.array_equal(ours, theirs):
            return combined(values, self.resampled - other.resampled, len(ours))
        apart = np.roll(other.resampled, 1, axis=1)  # drawn anew: rows of counts are independent
        return combined(values, self.resampled - apart, min(len(ours), len(theirs)))


def read_judged(folder: Path) -> Judged | None:
    """Resample the test items that a run directory holds; null if it holds none.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / TEST_ITEMS
    if not path.is_file():
        return None
    try:
        items = load(path)
        resampled = resample([items])[1]
    except (DataError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} is damaged: delete the folder {folder}, and the same command trains the run again"
        ) from error
    return Judged(np.sort(items.ids, kind="stable"), {f"test/{name}": of[0] for name, of in resampled.items()})


def joined(folds: Sequence[Judged | None]) -> Judged | None:
    """The runs of a cross-validation as one on all their items, with the mean of their results."""
    known = [each for each in folds if each]
    if len(known) < len(folds):
        return None
    if len(known) == 1:
        return known[0]
    metrics = set.intersection(*(set(each.resampled) for each in known))
    apart = {name: [np.roll(each.resampled[name], i) for i, each in enumerate(known)] for name in metrics}
    ids = np.concatenate([each.ids for each in known])
    return Judged(ids, {name: np.mean(parts, axis=0) for name, parts in apart.items()})


def over_seeds(values: Sequence[float] | np.ndarray) -> Estimate | None:
    """Student's interval of the mean over S seeds, with no test items to resample; null for one seed or nan."""
    seeds = len(values)
    if seeds < 2 or not np.isfinite(values).all():
        return None
    value, variance = float(np.mean(values)), float(np.var(values, ddof=1))
    reach = student(variance, seeds)
    return Estimate(value, value - reach, value + reach, math.sqrt(variance / seeds), 0, seeds, variance)


def student(variance: float, seeds: int) -> float:
    """Half the width of Student's interval of the mean over S seeds, two or more, of that variance."""
    return float(t.ppf(0.5 + CONFIDENCE / 2, seeds - 1)) * math.sqrt(variance / seeds)
