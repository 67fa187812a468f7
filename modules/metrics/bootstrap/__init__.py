"""Bootstrap over test items: 95 % intervals of metrics, paired differences of runs, and the counts they would need.

A test leaves `predictions/test_items.npz`: ids and sufficient statistics of every item (image, video, sentence), from
which any metric of a resampled test set follows, AP, BLEU and mIoU as a whole.

    items = load(path)                                 # items.ids, items.values(counts (R, N)) -> {metric: (R,)}
    intervals(items)["accuracy"]                       # Estimate(value, low, high, standard_error, items, seeds)
    difference([a], [b])["accuracy"]                   # a - b, paired: the same counts of the same ids
    difference([a0, a1, a2], [b0, b1, b2])["map"]      # mean over seeds, combined with the spread over seeds
    estimate.distinguishable, needed(estimate)         # Needed(seeds, items), null where no number would do

Metrics are named without their split, `accuracy` for `test/accuracy`.
"""

from modules.metrics.bootstrap.items import Items, load
from modules.metrics.bootstrap.resampling import (
    RESAMPLES,
    Estimate,
    Needed,
    counts,
    difference,
    intervals,
    mean,
    needed,
)
from modules.metrics.bootstrap.statistic import Statistic, Sums

__all__ = [
    "RESAMPLES",
    "Estimate",
    "Items",
    "Needed",
    "Statistic",
    "Sums",
    "counts",
    "difference",
    "intervals",
    "load",
    "mean",
    "needed",
]
