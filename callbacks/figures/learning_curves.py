"""Learning curves of training and validation."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from callbacks.figures.base import render, titled

COLORS = {"train": "#1f5fa8", "val": "#d98200"}


def learning_curves(
    panels: Mapping[str, Mapping[str, Sequence[tuple[int, float]]]], title: str, epoch: int | None = None
) -> np.ndarray:
    """Curves over epochs, a panel for each metric.

    Args:
        panels: metric -> log name -> (finished epochs, value) in order.
        title: above all, in as many lines as it takes.
        epoch: marked by a vertical line; null for none.
    """
    width = 560 * len(panels)
    lines = textwrap.wrap(title, width // 8)
    height, head = 400 + 18 * len(lines), 22 + 18 * len(lines)
    figure = titled(width, height, "\n".join(lines))
    for index, (metric, curves) in enumerate(panels.items()):
        left = (index + 0.13) / len(panels)
        axes = figure.add_axes((left, 52 / height, 0.84 / len(panels), 1 - (56 + head) / height))
        for name, curve in curves.items():
            epochs, values = zip(*curve, strict=True)
            marker = "o" if len(curve) < 20 else None
            axes.plot(epochs, values, label=name, color=COLORS[name.partition("/")[0]], marker=marker, markersize=4)
        if epoch is not None:
            axes.axvline(epoch, color="#888888", linestyle="--", linewidth=1)
        axes.set(xlabel="finished epochs", ylabel=metric)
        locator: Any = axes.xaxis.get_major_locator()
        locator.set_params(integer=True)
        axes.grid(alpha=0.25)
        axes.legend(framealpha=0.9, fontsize=9)
    return render(figure)
