"""Matrices of the classes that occur together in an image."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten, titled
from callbacks.figures.confusion import NAMED

TITLES = "in the labels", "in the predictions"


def cooccurrence(true: np.ndarray, found: np.ndarray, classes: Sequence[str], title: str) -> np.ndarray:
    """Two matrices side by side: of the images with the class of the row, the share with that of the column.

    Of more than `NAMED` classes the most frequent are drawn.

    Args:
        true: images with both classes, int64 (C, C), by their labels; with a class alone on the diagonal.
        found: the same by the predictions.
        classes: C names.
        title: one line above all.
    """
    if len(classes) > NAMED:
        title += f"; the {NAMED} most frequent of {len(classes)} classes"
        order = np.sort(np.argsort(-true.diagonal(), kind="stable")[:NAMED])
        true, found, classes = true[np.ix_(order, order)], found[np.ix_(order, order)], [classes[i] for i in order]
    side = min(max(40 * len(classes), 320), 800)
    labels = [shorten(name, 16) for name in classes]
    margin, gap = 50 + 7 * max(map(len, labels)), 30
    width, height = max(2 * side + gap + margin + 110, 9 * len(title)), side + margin + 90
    figure = titled(width, height, title)
    size = 9 if len(classes) <= 30 else 7
    for place, (matrix, name) in enumerate(zip((true, found), TITLES, strict=True)):
        left = (margin + place * (side + gap)) / width
        axes = figure.add_axes((left, (margin + 8) / height, side / width, side / height))
        share = matrix / matrix.diagonal()[:, None].clip(min=1)
        image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        if place:
            box = axes.get_position()
            bar = figure.add_axes((box.x1 + 20 / width, box.y0, 16 / width, box.height))
            figure.colorbar(image, cax=bar, format=lambda value, _: f"{100 * value:.0f} %")
        axes.set_title(name, fontsize=10)
        axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(range(len(labels)), [] if place else labels, fontsize=size, parse_math=False)
        axes.set_xlabel("have this class too")
        if not place:
            axes.set_ylabel("of the images with this class")
        if len(classes) <= 20:
            for (row, column), one in np.ndenumerate(share):
                color = "white" if one > 0.5 else PLAIN if one else "#b0b0b0"
                axes.text(column, row, f"{100 * one:.0f}", ha="center", va="center", color=color, fontsize=8)
    return render(figure)
