"""Drawings of generated images as arrays uint8 (H, W, 3): grids, their classes, their nearest real ones, FID."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from callbacks.figures.base import render, shorten, titled
from callbacks.figures.strips import strips

GAP = 2  # pixels of white between the images of a grid
SIDE = 64  # pixels that small images are enlarged to


def tiles(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Images uint8 (H, W, 3) row by row, thin white lines between them, small ones enlarged pixel by pixel."""
    images = enlarged(images)
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (GAP + i // columns * (height + GAP)), (GAP + i % columns * (width + GAP))
        canvas[top : top + height, left : left + width] = image
    return canvas


def enlarged(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images of one size, small ones enlarged by nearest-neighbor upsampling."""
    factor = max(1, round(SIDE / images[0].shape[0]))
    return [image.repeat(factor, 0).repeat(factor, 1) for image in images]


def named_rows(rows: Sequence[Sequence[np.ndarray]], names: Sequence[str], title: str) -> np.ndarray:
    """Images in rows, the name of each row below it."""
    panels = [enlarged(row) for row in rows]
    return strips(panels, [""] * len(panels[0]), [shorten(name, 40) for name in names], [], title)


def neighbors(rows: Sequence[Sequence[np.ndarray]], title: str) -> np.ndarray:
    """Rows of a generated image and its nearest training images."""
    panels = [enlarged(row) for row in rows]
    headings = ["made", *(["nearest"] if len(panels[0]) > 1 else []), *[""] * (len(panels[0]) - 2)]
    return strips(panels, headings, [""] * len(panels), [], title)


def histogram(counts: Sequence[int], classes: Sequence[str], title: str) -> np.ndarray:
    """Bar chart of the images of each class, with the level of a uniform distribution."""
    width, height = max(420, 34 * len(counts) + 110), 380
    figure = titled(width, height, title)
    axes = figure.add_axes((64 / width, 110 / height, 1 - 84 / width, 1 - 160 / height))
    axes.bar(range(len(counts)), counts, color="#1f5fa8")
    equal = sum(counts) / len(counts)
    axes.axhline(equal, color="#888888", linestyle="--", label=f"as frequent: {equal:,.0f} each")
    if len(counts) <= 50:
        axes.set_xticks(
            range(len(counts)), [shorten(n, 14) for n in classes], rotation=60, ha="right", parse_math=False
        )
        for place, count in enumerate(counts):
            axes.annotate(f"{count:,}", (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    axes.set_ylabel("images")
    axes.margins(y=0.35)
    axes.legend(loc="upper right", framealpha=0.9, fontsize=9)
    return render(figure)


def progress(points: Sequence[tuple[int, float]], marks: Mapping[str, float], title: str) -> np.ndarray:
    """Curve of a metric over epochs on a logarithmic scale, with reference levels.

    Args:
        points: (finished epochs, value above 0) in order.
        marks: name -> reference level; nan ones are left out.
        title: one line above all.
    """
    figure = titled(720, 440, title)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.74))
    epochs, values = zip(*points, strict=True)
    axes.plot(epochs, values, marker="o", markersize=4, color="#1f5fa8", label="generated images")
    for place, (name, level) in enumerate(marks.items()):
        if math.isfinite(level):
            axes.axhline(level, color=("#888888", "#1a7f37")[place % 2], linestyle="--", label=f"{name} {level:.3g}")
    last = epochs[-1], values[-1]
    axes.annotate(f"{values[-1]:.3g}", last, xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set(xlabel="finished epochs", yscale="log")
    axes.margins(x=0.06, y=0.12)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25, which="both")
    axes.legend(framealpha=0.9, fontsize=9)
    return render(figure)
