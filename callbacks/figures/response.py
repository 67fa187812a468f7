"""Results over a numeric setting, such as label-efficiency curves."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from callbacks.figures.base import distinct, render, shorten, titled

SPREAD = 10  # ratio of the largest to the smallest value from which the axis is logarithmic


class Point(NamedTuple):
    """Result at one value of the setting, with its interval; that is null where it is unknown."""

    setting: float
    result: float
    low: float | None = None
    high: float | None = None


def response(lines: Mapping[str, Sequence[Point]], setting: str, metric: str, title: str) -> np.ndarray:
    """A line per name over the values of a setting, within a band of the intervals.

    Args:
        lines: name, such as the initial weights -> points in any order.
        setting: name of the x axis.
        metric: name of the y axis.
        title: one line above all.
    """
    figure = titled(760, 500, title)
    axes = figure.add_axes((0.1, 0.12, 0.87, 0.78))
    values = sorted({point.setting for points in lines.values() for point in points})
    for color, (name, points) in zip(distinct(len(lines)), lines.items(), strict=True):
        places, results, low, high = zip(*sorted(points), strict=True)
        axes.plot(places, results, color=color, marker="o", markersize=5, label=shorten(name, 40) if name else None)
        low, high = (np.array([np.nan if end is None else end for end in ends]) for ends in (low, high))
        axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
    positive = [value for value in values if value > 0]
    if values[0] >= 0 and positive and positive[-1] >= SPREAD * positive[0]:
        axes.set_xscale("symlog", linthresh=positive[0]) if values[0] == 0 else axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.minorticks_off()
    axes.set_xlabel(setting, parse_math=False)
    axes.set_ylabel(f"{metric}: mean, 95 % interval", parse_math=False)
    axes.grid(alpha=0.25)
    if any(lines):
        for text in axes.legend(framealpha=0.9, fontsize=9).get_texts():
            text.set_parse_math(False)
    return render(figure)
