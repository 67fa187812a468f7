"""Figure of the feature pyramid of a backbone."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import PLAIN, distinct, render, titled

WIDTH, HEIGHT = 1000, 460  # pixels
MAX_SCALE = 4  # fields up to so many sides of the image are drawn to scale


def pyramid(
    name: str,
    sides: tuple[int, int],
    cells: Sequence[tuple[int, int]],
    channels: Sequence[int],
    strides: Sequence[int],
    fields: Sequence[int | None],
) -> np.ndarray:
    """Feature maps from fine to coarse as blocks, beside their receptive fields: uint8 (H, W, 3).

    Args:
        name: of the backbone.
        sides: height and width of the image in pixels.
        cells: height and width of each map.
        channels: of each map.
        strides: of each map.
        fields: side of the receptive field of each map in pixels; null is the whole image.
    """
    figure = titled(WIDTH, HEIGHT, f"{name} on an image of {sides[0]} x {sides[1]}")
    colors = distinct(len(strides))
    _blocks(figure.add_axes((0.02, 0.08, 0.55, 0.8)), cells, channels, strides, fields, colors)
    _fields(figure.add_axes((0.6, 0.08, 0.38, 0.8)), max(sides), strides, fields, colors)
    return render(figure)


def _blocks(axes, cells, channels, strides, fields, colors) -> None:
    """A block per map: as high as the root of its side, as wide as the logarithm of its channels."""
    left = 0.0
    for (rows, columns), wide, stride, field, color in zip(cells, channels, strides, fields, colors, strict=True):
        high, across = rows**0.5, np.log2(wide) / 4
        axes.bar(left, high, across, bottom=-high / 2, align="edge", color=color, alpha=0.75, edgecolor=PLAIN)
        middle = left + across / 2
        seen = "sees all" if field is None else f"sees {field}"
        axes.text(middle, high / 2 + 0.2, f"{rows} x {columns}", ha="center", va="bottom", fontsize=9, color=PLAIN)
        text = f"stride {stride}\n{wide} ch.\n{seen}"
        axes.text(middle, -high / 2 - 0.3, text, ha="center", va="top", fontsize=9, color=PLAIN)
        left += max(across, 2.2) + 0.5
    top = cells[0][0] ** 0.5 / 2
    axes.set(xlim=(-0.8, left), ylim=(-top - 5, top + 2))
    axes.axis("off")


def _fields(axes, side, strides, fields, colors) -> None:
    """Receptive fields around the middle of the image, which is gray."""
    known = [field for field in fields if field is not None]
    most = min(max([side, *known]), MAX_SCALE * side)
    axes.add_patch(_square(side, color="#dddddd"))
    for stride, field, color in reversed(list(zip(strides, fields, colors, strict=True))):
        label = f"stride {stride}: " + ("the whole image" if field is None else f"{field} pixels")
        axes.add_patch(_square(side if field is None else field, fill=False, color=color, lw=2, label=label))
    axes.set(xlim=(-0.55 * most, 0.55 * most), ylim=(-0.55 * most, 0.85 * most), aspect="equal")
    axes.set_title("what one cell sees; gray: the image", fontsize=10, color=PLAIN)
    axes.legend(loc="upper center", ncols=2, fontsize=8, frameon=False)
    axes.axis("off")


def _square(side: float, **style):
    from matplotlib.patches import Rectangle

    return Rectangle((-side / 2, -side / 2), side, side, **style)
