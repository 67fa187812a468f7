"""Strips of related panels, such as image, truth and prediction, under one legend."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import LINE_HEIGHT, PLAIN, render, titled
from callbacks.figures.grids import fitting_columns

Entry = tuple[str, np.ndarray]
"""Legend entry: a name and its swatch, uint8 (14, 22, 3)."""

GAP, MARGIN = 3, 14  # pixels between panels, and around strips
WIDEST = 2160  # pixels
DIGIT = 8  # pixels of a digit, of which names of files are made


def swatch(color: tuple[int, int, int]) -> np.ndarray:
    """Color swatch of a legend, uint8 (14, 22, 3)."""
    return np.full((14, 22, 3), color, np.uint8)


def strips(
    rows: Sequence[Sequence[np.ndarray]],
    headings: Sequence[str],
    captions: Sequence[str],
    legend: Sequence[Entry],
    title: str,
) -> np.ndarray:
    """Grid of strips with captions, under one title and one legend; strips are as wide as their texts need.

    Args:
        rows: of each strip its panels, uint8 (h, w, 3), drawn pixel by pixel. An empty list draws the title alone.
        headings: one for each panel of a strip, above the first strips.
        captions: one per strip, all of as many lines.
        legend: names and their swatches.
        title: one line above all.
    """
    if not rows:
        return render(titled(max(600, 9 * len(title)), 60, title))
    heights = [max(panel.shape[0] for panel in panels) for panels in rows]
    wide = max(panel.shape[1] for panels in rows for panel in panels)
    longest = max(len(line) for caption in captions for line in caption.split("\n"))
    last = (len(headings) - 1) * (wide + GAP)
    strip = max(last + wide, last + DIGIT * len(headings[-1]), DIGIT * longest) + 2 * MARGIN
    below = LINE_HEIGHT * (captions[0].count("\n") + 1) + MARGIN
    columns = min(fitting_columns(len(rows), (np.mean(heights) + below) / strip), max(1, WIDEST // strip))
    width = max(columns * strip, 9 * len(title), 420)
    places, above = _flow(legend, width)
    highest = [max(heights[first : first + columns]) for first in range(0, len(rows), columns)]  # of each line
    tops = above + LINE_HEIGHT + np.cumsum([0, *(high + below for high in highest)])
    canvas = np.full((tops[-1], width, 3), 255, np.uint8)
    texts = _draw_legend(canvas, legend, places)
    for index, (panels, caption) in enumerate(zip(rows, captions, strict=True)):
        top, left = tops[index // columns], index % columns * strip + MARGIN
        for place, (panel, heading) in enumerate(zip(panels, headings, strict=True)):
            x = left + place * (wide + GAP)
            canvas[top : top + panel.shape[0], x : x + panel.shape[1]] = panel
            texts += [(x, top - 4, heading, "bottom")] if index < columns else []
        texts.append((left, top + heights[index] + 5, caption, "top"))
    return _written(canvas, texts, title)


Text = tuple[int, int, str, str]
"""Left, y, text, and vertical alignment at y."""


def _flow(legend: Sequence[Entry], width: int) -> tuple[list[tuple[int, int]], int]:
    """Left and top of each legend entry, line by line below the title; and the y coordinate below the legend."""
    places, x, y = [], MARGIN, 42
    for name, _ in legend:
        needed = 44 + round(7.5 * len(name))
        if x + needed > width and x > MARGIN:
            x, y = MARGIN, y + 24
        places.append((x, y))
        x += needed
    return places, y + (30 if legend else 0)


def _draw_legend(canvas: np.ndarray, legend: Sequence[Entry], places: Sequence[tuple[int, int]]) -> list[Text]:
    for (x, y), (_, drawn) in zip(places, legend, strict=True):
        canvas[y - 1 : y + 15, x - 1 : x + 23] = 90  # a frame, for swatches as white as the paper
        canvas[y : y + 14, x : x + 22] = drawn
    return [(x + 28, y + 7, name, "center") for (x, y), (name, _) in zip(places, legend, strict=True)]


def _written(canvas: np.ndarray, texts: Sequence[Text], title: str) -> np.ndarray:
    """The canvas with its title and texts."""
    height, width = canvas.shape[:2]
    figure = titled(width, height, title)
    for x, y, text, align in texts:
        figure.text(x / width, 1 - y / height, text, va=align, fontsize=9, color=PLAIN, parse_math=False)
    drawn = render(figure)
    inside = drawn[:height, :width]
    np.minimum(inside, canvas[: len(inside), : inside.shape[1]], out=inside)  # figimage takes 100 bytes per pixel
    return drawn
