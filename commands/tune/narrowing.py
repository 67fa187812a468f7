"""Coarse to fine: the range around a best value, and values at the edge of their range."""

import math
from collections.abc import Mapping
from typing import Any

from commands.tune.space import Dimension, Space

PART = 1 / 6
"""Share of a range, to either side of its best value, that the narrowed one covers."""
EDGE = 0.1
"""Share of a range at either end that counts as its edge."""


def narrowed(space: Space, best: Mapping[str, Any]) -> Space:
    """The ranges of a space around its best values, a third as wide; choices are settled and go.

    A logarithmic range may reach beyond the old one, where the best value lies at its edge.
    """
    return {name: _around(each, best[name]) for name, each in space.items() if name in best and not each.choices}


def _around(old: Dimension, best: float) -> Dimension:
    if old.log:
        width = (old.high / old.low) ** PART
        low, high = (float(f"{end:.3g}") for end in (best / width, best * width))
        if old.whole:
            low, high = max(1, int(low)), math.ceil(high)
        return old._replace(low=low, high=high)
    step = old.step or (1 if old.whole else 0)
    width = (old.high - old.low) * PART
    width = step * max(1, round(width / step)) if step else width
    low, high = max(old.low, best - width), min(old.high, best + width)
    return old._replace(low=low if step else float(f"{low:.6g}"), high=high if step else float(f"{high:.6g}"))


def at_edge(space: Space, best: Mapping[str, Any]) -> list[str]:
    """Names of the settings whose best value lies at the edge of its range."""
    found = []
    for name, each in space.items():
        if name in best and not each.choices:
            low, high, value = (math.log(x) if each.log else x for x in (each.low, each.high, best[name]))
            if not EDGE <= (value - low) / (high - low) <= 1 - EDGE:
                found.append(name)
    return found
