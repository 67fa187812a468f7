"""Comparison of runs that differ in some settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from callbacks.figures.base import PLAIN, distinct, render, shorten, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[int, float]]
Color = tuple[float, ...]


class Bar(NamedTuple):
    """Results of runs, their mean, and its interval; that is null where it is unknown."""

    runs: Sequence[float]
    mean: float
    low: float | None = None
    high: float | None = None


def comparison(
    results: Mapping[str, Bar],
    differences: Mapping[str, Bar],
    curves: Mapping[str, Sequence[Points]],
    metric: str,
    reference: str,
    monitor: str,
    title: str,
) -> np.ndarray:
    """Compare variants: a dot per run and the mean with its interval, differences to a reference, learning curves.

    Args:
        results: variant -> its results, in the order of the rows.
        differences: variant -> difference to its reference; without any the second panel is left out.
        curves: variant -> for each of its runs (finished epochs, value while training); without any point the third
            panel is left out.
        metric: name of the results.
        reference: name of what the differences are to.
        monitor: name of the curves' values.
        title: one line above all.
    """
    drawn = any(curve for runs in curves.values() for curve in runs)
    names, colors = [shorten(name, 32) for name in results], distinct(len(results))
    margin, between = 26 + 8 * max(map(len, names)), 380 if differences else 0
    width, height = margin + 400 + between + (560 if drawn else 0), max(440, 120 + 46 * len(names))
    figure = titled(width, height, title)

    def panel(left: int, wide: int) -> "Axes":
        return figure.add_axes((left / width, 56 / height, wide / width, 1 - 100 / height))

    axes = panel(margin, 380)
    _draw_bars(axes, list(results.values()), colors, "{:.4f}")
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_xlabel(f"{metric}: runs, mean, 95 % interval", parse_math=False)
    if differences:
        axes = panel(margin + 400, 360)
        _draw_bars(axes, [differences.get(name) for name in results], colors, "{:+.4f}")
        axes.axvline(0, color=PLAIN, linewidth=1, linestyle="--", zorder=1)
        axes.set_yticks(range(len(names)), [""] * len(names))
        axes.set_xlabel(f"difference to {shorten(reference, 40)}, 95 % interval", parse_math=False)
    if drawn:
        axes = panel(margin + 400 + between + 80, 460)
        _draw_bands(axes, names, list(curves.values()), colors)
        axes.set_xlabel("finished epochs")
        axes.set_ylabel(f"{monitor}: mean, lowest to highest run", parse_math=False)
    return render(figure)


def _draw_bars(axes: "Axes", bars: Sequence[Bar | None], colors: Sequence[Color], form: str) -> None:
    """One row per bar: a dot per run, and their mean with its interval."""
    for row, bar in enumerate(bars):
        if bar is None:
            continue
        ends = None
        if bar.low is not None and bar.high is not None:
            ends = [[max(0, bar.mean - bar.low)], [max(0, bar.high - bar.mean)]]
        axes.errorbar(bar.mean, row, xerr=ends, fmt="|", color=PLAIN, markersize=22, capsize=4, zorder=2)
        shifts = np.linspace(-0.1, 0.1, len(bar.runs)) if len(bar.runs) > 1 else np.zeros(len(bar.runs))
        axes.scatter(bar.runs, row + shifts, color=colors[row], s=28, alpha=0.85, zorder=3)  # equal values stay apart
        place = {"xytext": (0, 16), "textcoords": "offset points", "ha": "center"}
        axes.annotate(form.format(bar.mean), (bar.mean, row), fontsize=9, **place)
    axes.set_ylim(len(bars) - 0.5, -0.8)
    axes.margins(x=0.12)
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.grid(axis="x", alpha=0.25)


def _draw_bands(
    axes: "Axes", names: Sequence[str], curves: Sequence[Sequence[Points]], colors: Sequence[Color]
) -> None:
    """One line per name: the mean of its curves, within their lowest and highest values."""
    for name, runs, color in zip(names, curves, colors, strict=True):
        epochs, mean, low, high = band(runs)
        axes.plot(epochs, mean, color=color, label=name, marker="o" if len(epochs) == 1 else None)
        axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    for text in axes.legend(framealpha=0.9, fontsize=9).get_texts():
        text.set_parse_math(False)


def band(curves: Sequence[Points]) -> tuple[list[int], np.ndarray, np.ndarray, np.ndarray]:
    """Mean, minimum and maximum (E,) at the E epochs common to all curves.

    Early stopping of one ends all, since a mean over fewer runs would jump.
    """
    tables = [dict(curve) for curve in curves]
    epochs = sorted(set.intersection(*map(set, tables)))
    values = np.array([[table[epoch] for epoch in epochs] for table in tables])
    return epochs, values.mean(0), values.min(0), values.max(0)
