"""Resampling of test items, intervals, paired differences and their combination with the spread over seeds."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit

from modules.metrics.bootstrap.items import Items

RESAMPLES = 1000
CONFIDENCE = 0.95
FEW = 10  # right or wrong items
POWER = 0.8  # probability that the needed counts would show a difference as large as the one observed
BLOCK = 2_000_000  # counts drawn at once


class Estimate(NamedTuple):
    """A metric, or a difference of two, with its 95 % interval.

    Args:
        value: of the test set as it is; the mean over seeds.
        low: lower end of the interval.
        high: upper end.
        standard_error: of `value`.
        items: number of test items N.
        seeds: number of runs S with seeds of their own; with one the interval is about items alone.
        seed_variance: of one run, from one seed to the next; null with one seed.
        item_variance: of one item, common to all seeds: its N-th part is that of a test set of N items.
        both_variance: of one item in one run, different in every run; null with one seed.
    """

    value: float
    low: float
    high: float
    standard_error: float
    items: int
    seeds: int = 1
    seed_variance: float | None = None
    item_variance: float = 0.0
    both_variance: float | None = None

    @property
    def ends(self) -> list[float]:
        """The interval for a file, in six digits."""
        return [float(f"{end:.6g}") for end in (self.low, self.high)]

    @property
    def distinguishable(self) -> bool:
        """True if the interval does not contain 0: of a difference, that the runs can be told apart."""
        return not self.low <= 0 <= self.high


class Needed(NamedTuple):
    """Numbers of seeds, with the items as they are, and of items, with the seeds as they are; null if none is enough.

    `seeds` is null also where one seed leaves their spread unknown.
    """

    seeds: int | None
    items: int | None


def counts(items: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[np.ndarray]:
    """Multinomial counts of N items in each of R resamples: blocks int64 (r, N) of them.

    From a generator of its own; the same for every test set of N items.
    """
    generator = np.random.default_rng(seed)
    block = max(1, min(resamples, BLOCK // max(1, items)))
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        drawn = generator.integers(items, size=(rows, items)) + items * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * items).reshape(rows, items)


def resample(runs: Sequence[Items], resamples: int = RESAMPLES) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Metrics of runs that judged the same items: as they are, (S,), and with the same resampled items, (S, R).

    Counts belong to ids, in their alphabetical order, so that the order of batches changes nothing.

    Raises:
        ValueError: the runs judged different items.
    """
    order = [np.argsort(run.ids, kind="stable") for run in runs]
    first = runs[0].ids[order[0]]
    if any(len(run.ids) != len(first) or (run.ids[one] != first).any() for run, one in zip(runs, order, strict=True)):
        raise ValueError("the runs judged different items")
    places = [np.argsort(one) for one in order]  # rank of each item among the sorted ids
    whole = [run.values(np.ones((1, len(first)), np.int64)) for run in runs]
    names = [name for name in whole[0] if all(name in values for values in whole)]
    parts: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in runs] for name in names}
    for block in counts(len(first), resamples):
        for i, (run, place) in enumerate(zip(runs, places, strict=True)):
            values = run.values(block[:, place])
            for name in names:
                parts[name][i].append(values[name])
    resampled = {name: np.stack([np.concatenate(each) for each in parts[name]]) for name in names}
    return {name: np.array([values[name][0] for values in whole]) for name in names}, resampled


def intervals(items: Items, resamples: int = RESAMPLES) -> dict[str, Estimate | None]:
    """Every metric of a test set with its interval.

    Where fewer than ten items are right, or wrong, which resampling shows too seldom or not at all, the interval of a
    share of items is Wilson's (1927).

    Returns:
        Null where the metric is not a number, or all resampled sets give its value.
    """
    found, shares = mean([items], resamples), items.shares
    for name, one in found.items():
        if one is None:
            continue
        if name in shares and min(one.value, 1 - one.value) * one.items < FEW:
            low, high = wilson(one.value, one.items)
            found[name] = one._replace(low=low, high=high)
        elif one.low == one.high:
            found[name] = None
    return found


def wilson(share: float, items: int) -> tuple[float, float]:
    """Lower and upper end of the 95 % score interval of a share of N items."""
    z = float(ndtri(0.5 + CONFIDENCE / 2))
    center = (share + z**2 / (2 * items)) / (1 + z**2 / items)
    reach = z / (1 + z**2 / items) * math.sqrt(share * (1 - share) / items + z**2 / (4 * items**2))
    return max(0.0, center - reach), min(1.0, center + reach)


def mean(runs: Sequence[Items], resamples: int = RESAMPLES) -> dict[str, Estimate | None]:
    """Every metric as the mean over S runs that differ in their seeds, with its interval.

    It is that of `combined`, but for a single run that of `ends`.
    """
    values, resampled = resample(runs, resamples)
    items, found = len(runs[0].ids), {}
    for name, of in resampled.items():
        one = combined(values[name], of, items)
        if one is not None and len(runs) == 1:
            low, high = ends(one.value, of[np.isfinite(of)], items)
            one = one._replace(low=low, high=high)
        found[name] = one
    return found


def difference(
    first: Sequence[Items], second: Sequence[Items], resamples: int = RESAMPLES
) -> dict[str, Estimate | None]:
    """Every metric of S runs minus that of S others on the same items, paired by item and by seed.

    Args:
        first: runs in order of their seeds.
        second: runs of the same seeds, in the same order.
        resamples: number of them.

    Raises:
        ValueError: the runs judged different items, or there are more of one than of the other.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} runs cannot be paired with {len(second)}")
    values, resampled = resample([*first, *second], resamples)
    seeds, items = len(first), len(first[0].ids)
    return {
        name: combined(values[name][:seeds] - values[name][seeds:], of[:seeds] - of[seeds:], items)
        for name, of in resampled.items()
    }


def combined(values: np.ndarray, resampled: np.ndarray, items: int) -> Estimate | None:
    """Estimate of a metric, or of a difference, over S seeds and N items.

    The model is that of two crossed random effects: the metric of seed s on a set of items is a mean of
    m + a_s + b_i + e_si, so that its mean over S seeds and N items varies by var(a) / S + var(b) / N + var(e) / (S N).
    The variance between the seeds estimates var(a) + var(e) / N; resampling the items of the mean over seeds
    var(b) / N + var(e) / (S N); resampling the items of each seed's distance to that mean (1 - 1 / S) var(e) / N. The
    interval is Student's, with degrees of freedom by Satterthwaite from S - 1 and N - 1. With one seed it is about the
    items alone.

    Args:
        values: (S,), of the test set as it is.
        resampled: (S, R), of the resampled sets.
        items: N.

    Returns:
        Null where a value is not a number, no resampled one is, or there are not two items.
    """
    usable = np.isfinite(resampled).all(0)
    if not np.isfinite(values).all() or not usable.any() or items < 2:
        return None
    resampled, seeds, value = resampled[:, usable], len(values), float(values.mean())
    center, unbiased = resampled.mean(0), items / (items - 1)
    between = both = 0.0
    if seeds > 1:
        between = float(values.var(ddof=1))
        both = float((resampled - center).var(1).mean()) * unbiased * seeds / (seeds - 1)
    shared = max(0.0, float(center.var()) * unbiased - both / seeds)
    parts = np.array([between / seeds, shared])
    error = math.sqrt(parts.sum())
    doubt = float((parts**2 / [max(1, seeds - 1), items - 1]).sum())
    reach = student(max(1.0, parts.sum() ** 2 / doubt)) * error if doubt else error
    return Estimate(
        value,
        value - reach,
        value + reach,
        error,
        items,
        seeds,
        max(0.0, between - both) if seeds > 1 else None,
        items * shared,
        items * both if seeds > 1 else None,
    )


def ends(value: float, resampled: np.ndarray, items: int) -> tuple[float, float]:
    """95 % interval from R resampled values: percentiles around the value, widened for few items.

    Resampling N items underestimates their variance by the factor (N - 1) / N and takes it for known; the percentiles
    are therefore those that a normal distribution has at Student's quantiles (Hesterberg 2015). A metric that is no
    mean has a bias in sets whose items repeat, such as CIDEr by their document frequencies; the mean of the resampled
    values is moved to the value. `benchmarks/coverage.py` measures the coverage.
    """
    reach = student(items - 1) * math.sqrt(items / (items - 1))
    low, high = np.quantile(resampled, ndtr([-reach, reach])) + value - resampled.mean()
    if min(value, resampled.min()) >= 0 and max(value, resampled.max()) <= 1:
        low, high = max(0.0, low), min(1.0, high)
    return float(low), float(high)


def student(freedom: float) -> float:
    """Half width of a 95 % interval in standard errors, by Student's distribution."""
    return float(stdtrit(freedom, 0.5 + CONFIDENCE / 2))


def needed(estimate: Estimate) -> Needed:
    """Seeds, or items, that would show a difference as large as the one observed with 80 % probability.

    Normal theory, with the variances of the estimate: both have to bring the standard error below the difference over
    1.96 + 0.84.
    """
    target = (estimate.value / float(ndtri(0.5 + CONFIDENCE / 2) + ndtri(POWER))) ** 2
    seeds, items, both = estimate.seeds, estimate.items, estimate.both_variance or 0.0
    own = estimate.seed_variance or 0.0
    by_seeds = None
    if estimate.seed_variance is not None:
        by_seeds = _enough(own + both / items, target - estimate.item_variance / items)
    return Needed(by_seeds, _enough(estimate.item_variance + both / seeds, target - own / seeds))


def _enough(variance: float, left: float) -> int | None:
    return max(1, math.ceil(variance / left)) if left > 0 else None
