"""Basics of all figures: empty figure, rendering to pixels, colors, shortened names."""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from callbacks.figures.fonts import use_fonts
from modules.contracts.palette import vivid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT, WRONG, PLAIN = "#1a7f37", "#c62828", "#222222"
DPI = 100
LINE_HEIGHT = 18  # height of a line of caption in pixels


def titled(width: float, height: float, title: str) -> "Figure":
    """An empty white figure of that many pixels; the object API leaves pyplot's global state to the user."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    figure.text(0.5, 1 - 14 / height, title, ha="center", va="top", fontsize=11, color=PLAIN, parse_math=False)
    return figure


def render(figure: "Figure") -> np.ndarray:
    """The drawn figure as pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    use_fonts(figure)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Glyph .* missing from font")  # reported once
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def distinct(count: int) -> list[tuple[float, ...]]:
    """`count` maximally distinct colors, RGB in 0..1, for white and dark backgrounds."""
    from matplotlib import colormaps

    if count <= 20:
        return list(colormaps["tab10" if count <= 10 else "tab20"].colors[:count])
    return [tuple(part / 255 for part in color) for color in vivid(count)]


def rgb(color: str) -> tuple[int, ...]:
    """Values 0..255 of a color by any name that matplotlib knows."""
    from matplotlib.colors import to_rgb

    return tuple(round(255 * part) for part in to_rgb(color))


def shorten(name: str, length: int = 20) -> str:
    """`name`, cut to `length` characters with an ellipsis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def shorten_start(name: str, length: int) -> str:
    """`name`, cut at its start to `length` characters with an ellipsis, which keeps the file name of a path."""
    return name if len(name) <= length else "…" + name[1 - length :]


def percent(share: float) -> str:
    """A share as percent with two significant digits: 97, 4.3, 0.2; 0 for exactly 0."""
    percent = 100 * share
    return "0" if share == 0 else "<0.1" if percent < 0.05 else f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}"
