"""Drawings of an evaluation as arrays: plain data in, one figure uint8 (H, W, 3) out."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np

from callbacks.figures.base import DPI, PLAIN, distinct, render, shorten, titled

BLUE, ORANGE, GRAY = "#1f5fa8", "#d98200", "#888888"
THUMB = 36  # pixels


def bars(names: Sequence[str], values: Sequence[float], chance: float, title: str) -> np.ndarray:
    """Accuracies 0..1 as horizontal bars from the top down, with the level of guessing marked."""
    height = 34 * len(names) + 120
    figure = titled(860, height, title)
    axes = figure.add_axes((0.3, 56 / height, 0.66, 34 * len(names) / height))
    places = range(len(names))
    axes.barh(places, [100 * value for value in values], color=BLUE, height=0.62)
    for place, value in zip(places, values, strict=True):
        axes.text(100 * value + 0.8, place, f"{100 * value:.1f} %", va="center", fontsize=9, color=PLAIN)
    axes.axvline(100 * chance, color=GRAY, linestyle="--", label=f"chance {100 * chance:.1f} %")
    axes.set_yticks(places, names, fontsize=9)
    axes.set(xlim=(0, 108), xlabel="accuracy (%)", ylim=(len(names) - 0.4, -0.6))
    axes.grid(axis="x", alpha=0.25)
    axes.legend(loc="lower right", framealpha=0.9, fontsize=9)
    return render(figure)


def lines(
    panels: dict[str, dict[str, Sequence[float]]], ticks: dict[str, Sequence[str]], chance: float, title: str
) -> np.ndarray:
    """Accuracies 0..1 over a few settings, one panel beside the other on one scale.

    Args:
        panels: name of the panel to lines: name of the line to its values.
        ticks: name of the panel to the settings in words.
        chance: accuracy of guessing, marked.
        title: one line above all.
    """
    width = 90 + 300 * len(panels)
    figure = titled(width, 420, title)
    top = max(chance, *(value for panel in panels.values() for values in panel.values() for value in values))
    for number, (name, panel) in enumerate(panels.items()):
        axes = figure.add_axes(((64 + 300 * number) / width, 0.2, 272 / width, 0.62))
        for (line, values), color, mark in zip(panel.items(), (BLUE, ORANGE), "os", strict=False):
            percent = [100 * value for value in values]
            axes.plot(percent, marker=mark, markersize=5, color=color, label=line)
        axes.axhline(100 * chance, color=GRAY, linestyle="--", label=f"chance {100 * chance:.1f} %")
        axes.set_xticks(range(len(ticks[name])), [fill(words, 8) for words in ticks[name]], fontsize=9)
        axes.set_title(name, fontsize=10)
        axes.set(ylim=(0, min(115 * top, 104)), xlim=(-0.3, len(ticks[name]) - 0.7))
        axes.grid(alpha=0.25)
        if number == 0:
            axes.set_ylabel("accuracy (%)")
            axes.legend(loc="best", fontsize=9, framealpha=0.9)
        else:
            axes.set_yticklabels([])
    return render(figure)


def projection(
    points: np.ndarray, thumbnails: Sequence[np.ndarray], groups: np.ndarray | None, names: Sequence[str], title: str
) -> np.ndarray:
    """Samples at points, as thumbnails where there is room and as dots elsewhere, colored by group.

    Args:
        points: (N, 2).
        thumbnails: N images uint8 (H, W, 3).
        groups: int (N,), 0..len(names)-1; None for no colors.
        names: of the groups; up to 20 are written beside.
        title: one line above all.
    """
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    side, legend = 940, 170 if groups is not None and len(names) <= 20 else 0
    figure = titled(side + legend + 40, side + 60, title)
    axes = figure.add_axes(
        (20 / (side + legend + 40), 20 / (side + 60), side / (side + legend + 40), side / (side + 60))
    )
    axes.set(xticks=[], yticks=[])
    colors = distinct(len(names))
    chosen = [colors[group] for group in groups] if groups is not None else [GRAY] * len(points)
    axes.scatter(*points.T, s=14, c=chosen, linewidths=0)
    low, high = points.min(0), points.max(0)
    for index in spread((points - low) / np.maximum(high - low, 1e-12) * side, 1.25 * THUMB):
        image = thumbnails[index]
        box = OffsetImage(image, zoom=THUMB / image.shape[0] * 72 / DPI, interpolation="antialiased")
        frame = {"edgecolor": chosen[index], "linewidth": 1.8}
        axes.add_artist(AnnotationBbox(box, points[index], pad=0.05, bboxprops=frame))
    if legend:
        for name, color in zip(names, colors, strict=True):
            axes.scatter([], [], s=50, color=[color], label=shorten(name, 18).replace("$", r"\$"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.005, 1), frameon=False, fontsize=9)
    return render(figure)


def spread(points: np.ndarray, distance: float) -> list[int]:
    """Indices of points (N, 2), first come first served, that keep at least `distance` from each other in x or y."""
    kept: list[int] = []
    for index, point in enumerate(points):
        if not kept or np.abs(points[kept] - point).max(1).min() >= distance:
            kept.append(index)
    return kept


def decay(shares: np.ndarray, rank: float, title: str) -> np.ndarray:
    """Singular values as shares of their sum, largest first, on a logarithmic scale, the effective rank marked."""
    figure = titled(720, 440, title)
    axes = figure.add_axes((0.12, 0.13, 0.85, 0.74))
    axes.plot(range(1, len(shares) + 1), shares, color=BLUE)
    axes.axvline(rank, color=ORANGE, linestyle=":", label=f"effective rank {rank:.1f}")
    axes.set(xlabel="singular value", ylabel="share of their sum", yscale="log", xlim=(1, len(shares)))
    top = shares.max() or 1.0  # all are 0 where all features are
    axes.set_ylim(max(top * 1e-6, shares.min() / 2), top * 1.5)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right")
    return render(figure)
