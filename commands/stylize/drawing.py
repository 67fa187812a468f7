"""Figure of a style transfer: the images, and the losses over its steps."""

from collections.abc import Sequence

import cv2
import numpy as np

from callbacks.figures.base import render, titled

HEIGHT = 300  # pixels of the images


def transfer(
    content: np.ndarray, styles: Sequence[np.ndarray], made: np.ndarray, curves: dict[str, list[float]], title: str
) -> np.ndarray:
    """Content, styles and result side by side, and below them the losses of each step: uint8 (H, W, 3)."""
    panels = [("content", content), *(("style", style) for style in styles), ("result", made)]
    shown = [(name, _scaled(image)) for name, image in panels]
    gap, below = 14, 300
    width = max(sum(image.shape[1] + gap for _, image in shown) + gap, 640)
    height = HEIGHT + below + 90
    figure = titled(width, height, title)
    left = gap
    for name, image in shown:
        box = (left / width, 1 - (50 + HEIGHT) / height, image.shape[1] / width, HEIGHT / height)
        axes = figure.add_axes(box, xticks=[], yticks=[])
        axes.imshow(image, interpolation="nearest")
        axes.set_xlabel(name, fontsize=9)
        left += image.shape[1] + gap
    axes = figure.add_axes((70 / width, 50 / height, 1 - 100 / width, (below - 40) / height))
    for (name, values), color in zip(curves.items(), ("#1f5fa8", "#d98200"), strict=False):
        axes.plot(range(len(values)), values, label=f"{name} loss, now {values[-1]:.3g}", color=color)
    lowest = min(value for values in curves.values() for value in values[-1:])
    axes.set(xlabel="steps", yscale="log", ylim=(lowest / 3 if lowest > 0 else None, None))
    axes.grid(alpha=0.25)
    axes.legend(framealpha=0.9, fontsize=9)
    return render(figure)


def _scaled(image: np.ndarray) -> np.ndarray:
    size = round(image.shape[1] * HEIGHT / image.shape[0]), HEIGHT
    shrinks = image.shape[0] > HEIGHT
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
