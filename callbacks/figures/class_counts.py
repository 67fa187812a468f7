"""Bar chart of the number of samples of each class, one bar per split."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten, titled

MAX_CLASSES = 40  # classes that are drawn
COLORS = ("#1f5fa8", "#d9822b", "#4d9a4a")  # told apart by color-blind readers too
BAR = 9  # pixels of a bar


def class_counts(classes: Sequence[str], counts: Mapping[Any, np.ndarray], noun: str) -> np.ndarray:
    """Horizontal bars of the samples of each class, most frequent first.

    Args:
        classes: C names; of more than `MAX_CLASSES` the most frequent and the rarest halves are drawn.
        counts: by split, int (C,).
        noun: word for the samples.
    """
    total = sum(counts.values())
    order = np.argsort(-total, kind="stable")
    title = f"{noun} of each class"
    if len(order) > MAX_CLASSES:
        order = np.concatenate([order[: MAX_CLASSES // 2], order[-MAX_CLASSES // 2 :]])
        title += f"; the {MAX_CLASSES // 2} most frequent and the {MAX_CLASSES // 2} rarest of {len(classes)}"
    names = [shorten(classes[i], 24) for i in order]
    row = BAR * len(counts) + 10
    left, inside = 34 + 8 * max(map(len, names)), row * len(order)
    width, height = 860, inside + 110
    figure = titled(width, height, title)
    axes = figure.add_axes((left / width, 60 / height, 1 - (left + 70) / width, inside / height))
    most = max(1, max(int(part.max()) for part in counts.values()))
    for k, ((split, part), color) in enumerate(zip(counts.items(), COLORS, strict=False)):
        places = np.arange(len(order)) + (k - (len(counts) - 1) / 2) * BAR / row
        axes.barh(places, part[order], height=BAR / row, color=color, label=split)
        for place, value in zip(places, part[order], strict=True):
            axes.text(value + most / 200, place, f"{value:,}", va="center", fontsize=7, color=PLAIN)
    axes.set_yticks(range(len(order)), names, fontsize=9, parse_math=False)
    axes.set(ylim=(len(order) - 0.4, -0.6), xlim=(0, 1.08 * most), xlabel=noun)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    if len(counts) > 1:
        figure.legend(
            loc="upper right", fontsize=9, ncols=len(counts), frameon=False, bbox_to_anchor=(1, 1 - 22 / height)
        )
    return render(figure)
