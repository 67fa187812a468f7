"""Learning-rate range test (Smith 2017): when to stop it, and the rate that it suggests."""

import math
from collections.abc import Sequence

import numpy as np

WIDTH = 2.5
"""Standard deviation in steps of the Gaussian that smooths the losses."""
FALL = 0.75
"""Share of the fall of the smoothed loss at whose rate the suggestion lies."""


def smooth(losses: Sequence[float]) -> np.ndarray:
    """The losses smoothed over neighboring steps by a Gaussian."""
    steps = np.arange(len(losses))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / WIDTH) ** 2)
    return weights @ np.asarray(losses) / weights.sum(1)


def diverged(losses: Sequence[float], least: int = 10) -> bool:
    """True if the last losses are not finite, or higher above the first ones than those were above the lowest.

    Args:
        losses: so far, from the lowest rate up.
        least: steps at rates too low to learn anything; their losses tell the level and the noise.
    """
    if not math.isfinite(losses[-1]):
        return True
    if len(losses) < 2 * least:
        return False
    first, now = np.mean(losses[:least]), np.mean(losses[-3:])
    fallen = first - smooth(losses).min()
    return bool(now > first + max(2 * fallen, 4 * np.std(losses[:least])))


def suggest_lr(rates: Sequence[float], losses: Sequence[float], least: int = 10) -> float | None:
    """The rate at which three quarters of the fall of the loss are reached, to two digits; null where it did not fall.

    The lowest point itself moves by decades from one test to another where the valley is flat.

    Args:
        rates: ascending.
        losses: at each of them, until the divergence.
        least: as of `diverged`.
    """
    known = [loss for loss in losses if math.isfinite(loss)]
    if len(known) <= 2 * least:
        return None
    smoothed = smooth(known)
    first, low = smoothed[:least].mean(), smoothed.min()
    if first - low < 2 * np.std(known[:least]):
        return None
    reached = int((smoothed <= first - FALL * (first - low)).argmax())
    return float(f"{rates[reached]:.2g}")
