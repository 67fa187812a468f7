"""The suggestion of a learning-rate range test."""

import math

import numpy as np
import pytest

from modules.training.range_test import diverged, suggest_lr

RATES = [10 ** (-6 + 7 * step / 99) for step in range(100)]


def losses(lowest: float, level: float = 2.3, noise: float = 0.01) -> list[float]:
    """Losses that fall by 1 over the two decades below `lowest` and then rise steeply."""
    random = np.random.default_rng(0)
    decades = [math.log10(rate / lowest) for rate in RATES]
    curve = [level - min(1, max(0, 1 + d / 2)) + (max(0, d) * 3) ** 2 for d in decades]
    return [value + noise * random.standard_normal() for value in curve]


def until_divergence(curve: list[float]) -> list[float]:
    for step in range(1, len(curve) + 1):
        if diverged(curve[:step]):
            return curve[:step]
    return curve


@pytest.mark.parametrize("lowest", [1e-3, 1e-1])
@pytest.mark.parametrize("level", [2.3, -5.0])  # losses may be negative
def test_the_suggestion_is_the_rate_at_which_three_quarters_of_the_fall_are_reached(lowest, level):
    seen = until_divergence(losses(lowest, level))
    assert len(seen) < 100
    assert RATES[len(seen) - 1] > 2 * lowest
    assert suggest_lr(RATES, seen) == pytest.approx(lowest / 10**0.5, rel=0.5)  # of a straight fall over two decades


def test_a_nan_ends_the_test():
    curve = [*losses(1e-2)[:60], math.nan]
    assert len(until_divergence(curve)) == 61
    assert suggest_lr(RATES, curve) is not None


def test_nothing_is_suggested_where_the_loss_does_not_fall():
    flat = [2.3 + 0.01 * (-1) ** step for step in range(100)]
    assert until_divergence(flat) == flat
    assert suggest_lr(RATES, flat) is None
    assert suggest_lr(RATES, [math.inf]) is None
