"""Comparison of runs that differ in some settings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[int, float]]


def comparison(
    values: Mapping[str, Sequence[float]], curves: Mapping[str, Sequence[Points]], metric: str, monitor: str, title: str
) -> np.ndarray:
    """Compare variants: a dot per run with mean and standard deviation, and learning curves.

    Args:
        values: variant -> the result of each of its runs.
        curves: variant -> for each of its runs (finished epochs, value while training); without any point the
            second panel is left out.
        metric: name of the results.
        monitor: name of the curves' values.
        title: one line above all.
    """
    both = any(curve for runs in curves.values() for curve in runs)
    width, height = 1100 if both else 560, max(440, 120 + 46 * len(values))
    figure = titled(width, height, title)
    names = [shorten(start, 28) for start in values]
    margin, bottom, inside = (26 + 8 * max(map(len, names))) / width, 56 / height, 1 - 100 / height
    dots = figure.add_axes((margin, bottom, (0.49 if both else 0.97) - margin, inside))
    _draw_runs(dots, names, list(values.values()))
    dots.set_xlabel(f"{metric}: runs, mean, deviation")
    if both:
        lines = figure.add_axes((0.56, bottom, 0.42, inside))
        _draw_bands(lines, names, list(curves.values()))
        lines.set(xlabel="finished epochs", ylabel=f"{monitor}: mean, lowest to highest run")
    return render(figure)


def _draw_runs(axes: "Axes", names: Sequence[str], values: Sequence[Sequence[float]]) -> None:
    """One row per name: a dot per value, their mean and standard deviation."""
    for row, runs in enumerate(values):
        several, mean = len(runs) > 1, np.mean(runs)
        deviation = np.std(runs, ddof=1) if several else None
        axes.errorbar(mean, row, xerr=deviation, fmt="|", color=PLAIN, markersize=22, capsize=4, zorder=2)
        shifts = np.linspace(-0.1, 0.1, len(runs)) if several else np.zeros(1)  # equal values stay apart
        axes.scatter(runs, row + shifts, color=f"C{row % 10}", s=28, alpha=0.85, zorder=3)
        place = {"xytext": (0, 16), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{mean:.4f}", (mean, row), fontsize=9, **place)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.8)
    axes.margins(x=0.12)
    axes.xaxis.get_major_locator().set_params(nbins=5)
    axes.grid(axis="x", alpha=0.25)


def _draw_bands(axes: "Axes", names: Sequence[str], curves: Sequence[Sequence[Points]]) -> None:
    """One line per name: the mean of its curves, within their lowest and highest values."""
    for row, (name, runs) in enumerate(zip(names, curves, strict=True)):
        epochs, mean, low, high = band(runs)
        axes.plot(epochs, mean, color=f"C{row % 10}", label=name, marker="o" if len(epochs) == 1 else None)
        axes.fill_between(epochs, low, high, color=f"C{row % 10}", alpha=0.15, linewidth=0)
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
