"""Figures of `check`: sizes of images, lengths, and pairs of equal or similar images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from callbacks.figures.base import render, shorten_start, titled
from callbacks.figures.class_counts import COLORS
from callbacks.figures.grids import fitted, grid
from datamodules.decoding import read_image
from modules.contracts import DataError

SIDE = 150  # pixels of an image of a pair


def size_scatter(shapes: Mapping[Any, np.ndarray]) -> np.ndarray:
    """Width and height of images as points, one color per split.

    Args:
        shapes: height and width by split, int (N, 2).
    """
    figure = titled(620, 520, "width and height of the images, in pixels")
    axes = figure.add_axes((0.12, 0.12, 0.84, 0.76))
    for (split, part), color in zip(shapes.items(), COLORS, strict=False):
        height, width = part.T
        axes.scatter(width, height, s=14, alpha=0.5, color=color, label=split, linewidths=0)
    most = 1.05 * max(part.max() for part in shapes.values())
    axes.plot([0, most], [0, most], color="#888888", linewidth=0.8, linestyle="--")
    axes.set(xlim=(0, most), ylim=(0, most), xlabel="width", ylabel="height")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9)
    return render(figure)


def histogram(values: Mapping[Any, np.ndarray], title: str, unit: str) -> np.ndarray:
    """Histogram of positive numbers, one line per name, on a logarithmic axis where they span much.

    Args:
        values: by name, (N,).
        title: one line above all.
        unit: of the values.
    """
    figure = titled(720, 340, title)
    axes = figure.add_axes((0.1, 0.16, 0.87, 0.7))
    every = np.concatenate([*values.values()]).astype(np.float64)
    low, high = max(every.min(), 1e-3), max(every.max(), 2e-3)
    spread = high > 100 * low
    edges = np.geomspace(low, high * 1.001, 41) if spread else np.linspace(every.min(), every.max() + 1, 41)
    for (name, part), color in zip(values.items(), COLORS, strict=False):
        weights = np.full(len(part), 100 / max(1, len(part)))
        axes.hist(part, edges.tolist(), weights=weights, histtype="step", color=color, label=name, linewidth=1.5)
    axes.set(xlabel=unit, ylabel="percent", xscale="log" if spread else "linear")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9)
    return render(figure)


def pairs_figure(pairs: Sequence[tuple[np.ndarray, np.ndarray]], captions: Sequence[str], title: str) -> np.ndarray:
    """Pairs of images side by side, each pair with its caption."""
    images = [
        np.hstack([fitted(one, SIDE), np.full((SIDE, 6, 3), 255, np.uint8), fitted(two, SIDE)]) for one, two in pairs
    ]
    return grid(images, captions, title, columns=min(3, len(images)))


def shown(path: Path) -> np.ndarray:
    """An image file to be drawn, uint8 (H, W, 3); gray where it cannot be."""
    try:
        return read_image(path)
    except DataError:
        return np.full((SIDE, SIDE, 3), 200, np.uint8)


def caption(name: str, split: str) -> str:
    """Split and end of a file's name, to stand below an image."""
    return f"{split}: {shorten_start(name, 38)}"
