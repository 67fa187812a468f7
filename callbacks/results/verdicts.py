"""Verdicts of a comparison in words: better by how much, or not distinguishable and what would be needed."""

import math
from statistics import NormalDist

from modules.metrics.bootstrap import Estimate, Needed, needed
from modules.metrics.bootstrap.resampling import CONFIDENCE, POWER


def verdict(name: str, reference: str, mode: str, difference: Estimate | None, noun: str) -> str:
    """A sentence on the difference of a variant to its reference.

    Args:
        name: of the variant.
        reference: name of its reference.
        mode: "max" if higher is better, "min" if lower is.
        difference: variant minus reference; null if there is nothing to judge it by.
        noun: word for test items.
    """
    if difference is None:
        return f"{name} and {reference}: one run of each, or results without a value, say nothing sure; add --seeds 3"
    value, low, high = difference.value, difference.low, difference.high
    if difference.distinguishable:
        better = (value > 0) == (mode == "max")
        winner, loser = (name, reference) if better else (reference, name)
        low, high = sorted((abs(low), abs(high)))
        alone = "" if difference.seeds > 1 else f"; one seed: the interval is about the {noun} alone"
        return f"{winner} is better than {loser} by {abs(value):.4f} [{low:.4f}, {high:.4f}]{alone}"
    return (
        f"{name} and {reference} are not distinguishable with {counted(difference.seeds, difference.items, noun)} "
        f"(difference {value:+.4f} [{low:+.4f}, {high:+.4f}]); {_wanted(difference, noun)}"
    )


def counted(seeds: int, items: int, noun: str) -> str:
    """Seeds and items in words: `3 seeds and 1,000 images`."""
    some = f" and {items:,} {noun}" if items else ""
    return f"{seeds} seed{'s' * (seeds != 1)}{some}"


def enough(difference: Estimate) -> Needed:
    """Seeds, or items, that would show the difference, more than there are; null where no number would do.

    `needed` reckons with known variances, which a few seeds do not give.
    """
    if not difference.value:
        return Needed(None, None)
    if not difference.items:
        quantiles = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) + NormalDist().inv_cdf(POWER)
        seeds = math.ceil((difference.seed_variance or 0) * (quantiles / difference.value) ** 2)
        return Needed(max(difference.seeds + 1, seeds), None)
    seeds, items = needed(difference)
    more = items if items and items > difference.items else None
    return Needed(seeds and max(difference.seeds + 1, seeds), more)


def _wanted(difference: Estimate, noun: str) -> str:
    seeds, items = enough(difference)
    if seeds and items:
        return f"about {_rounded(seeds)} seeds (or {_rounded(items)} {noun}) would be needed"
    if seeds or items:
        number = f"{_rounded(seeds)} seeds" if seeds else f"{_rounded(items or 0)} {noun}"
        unknown = "" if difference.seeds > 1 else ", and more seeds, whose spread one does not show"
        return f"about {number} would be needed{unknown}"
    if not difference.value:
        return "their results are equal"
    return f"more seeds and more {noun} would be needed" if difference.items else "more seeds would be needed"


def _rounded(number: int) -> str:
    """Two significant digits, rounded up."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{-(-number // unit) * unit:,}"
