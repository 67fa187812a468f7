"""Figures of sentences: tables, captioned images, attention maps."""

from collections.abc import Sequence
from textwrap import wrap

import cv2
import numpy as np

from callbacks.figures.base import LINE_HEIGHT, PLAIN, render, shorten, titled
from callbacks.figures.grids import grid

LETTER = 7.1  # pixels of a character, about
PANEL = (200, 300)  # height and width of an image with its caption
WORD = (150, 150)  # ... with the word generated there
ACROSS = 10  # images in a row of words
TOKEN = 19  # pixels of a word in a map
MAX_WORDS = 40  # words of a sentence in a map


def sentence_table(
    rows: Sequence[Sequence[str]],
    headings: Sequence[str],
    title: str,
    widths: Sequence[int],
    colors: Sequence[str] | None = None,
) -> np.ndarray:
    """Rows of sentences, broken into lines.

    Args:
        rows: of each row its cells. An empty list draws the title alone.
        headings: one for each column.
        title: one line above all.
        widths: of the columns, in characters.
        colors: of each row's sentences, any name that matplotlib knows.
    """
    if not rows:
        return render(titled(max(600, 9 * len(title)), 60, title))
    cells = [[lines(text, width) for text, width in zip(row, widths, strict=True)] for row in rows]
    heights = [LINE_HEIGHT * max(text.count("\n") + 1 for text in row) + 12 for row in cells]
    lefts = 14 + np.cumsum([0, *(LETTER * width + 16 for width in widths)])
    width, height = max(lefts[-1], 9 * len(title)), sum(heights) + 84
    figure = titled(width, height, title)
    style = {"va": "top", "fontsize": 9, "linespacing": 1.35, "parse_math": False}
    for left, heading in zip(lefts, headings, strict=False):
        figure.text(left / width, 1 - 46 / height, heading, weight="bold", color=PLAIN, **style)
    top = 72
    for i, (row, high) in enumerate(zip(cells, heights, strict=True)):
        rule = figure.add_axes((0, 1 - (top + high - 6) / height, 1, high / height), xticks=[], yticks=[], zorder=-1)
        rule.set_facecolor("#f3f5f8" if i % 2 == 0 else "white")
        rule.spines[:].set_visible(False)
        for left, text in zip(lefts, row, strict=False):
            figure.text(left / width, 1 - top / height, text, color=colors[i] if colors else PLAIN, **style)
        top += high
    return render(figure)


def captioned(
    images: Sequence[np.ndarray], captions: Sequence[str], title: str, colors: Sequence[str] | None = None
) -> np.ndarray:
    """Images of any sizes with the sentences below them; lines of a caption are broken where they are too long."""
    broken = ["\n".join(lines(line, 31) for line in caption.split("\n")) for caption in captions]
    most = max((text.count("\n") for text in broken), default=0)
    even = [text + "\n" * (most - text.count("\n")) for text in broken]
    return grid([fitted(image, PANEL) for image in images], even, title, colors)


def attention_maps(
    images: Sequence[np.ndarray], attention: Sequence[np.ndarray], words: Sequence[Sequence[str]], title: str
) -> np.ndarray:
    """Attention maps over images: each image, and one copy per word of its caption, bright where attention is high.

    Args:
        images: uint8 (H, W, 3), of any sizes.
        attention: of each image float (T, h, w), 0 and more.
        words: of each image its T words.
        title: one line above all.
    """
    panels, captions = [], []
    columns = min(ACROSS, 1 + max(map(len, words), default=0))
    for image, maps, said in zip(images, attention, words, strict=True):
        panels += [fitted(image, WORD), *(fitted(lit(image, weights), WORD) for weights in maps[:MAX_WORDS])]
        captions += ["", *(shorten(word, 20) for word in said[:MAX_WORDS])]
        gap = -len(panels) % columns  # each image begins a row of its own
        panels += [np.full((*WORD, 3), 255, np.uint8)] * gap
        captions += [""] * gap
    return grid(panels, captions, title, columns=columns)


def lit(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3) darkened by attention weights (h, w): unchanged at the highest, dark at 0."""
    share = np.clip(weights.astype(np.float32) / max(float(weights.max()), 1e-12), 0, 1)
    height, width = image.shape[:2]
    share = cv2.resize(share, (width, height), interpolation=cv2.INTER_LINEAR)
    return (image * (0.15 + 0.85 * share[..., None])).astype(np.uint8)


def alignments(
    attention: Sequence[np.ndarray], sources: Sequence[Sequence[str]], words: Sequence[Sequence[str]], title: str
) -> np.ndarray:
    """Attention alignments of target words (rows) to source words (columns), one map per sentence; dark is high.

    Args:
        attention: of each sentence float (T, S), rows that sum to one.
        sources: S words or pieces of each.
        words: T words or pieces of each.
        title: one line above all.
    """
    if not attention:
        return render(titled(max(600, 9 * len(title)), 60, title))
    shown = [weights[:MAX_WORDS, :MAX_WORDS].astype(np.float32) for weights in attention]
    ticks = [[[shorten(word, 14) for word in side[:MAX_WORDS]] for side in sides] for sides in (sources, words)]
    above, beside = (14 + round(7.5 * max(len(word) for side in sides for word in side)) for sides in ticks)
    high, wide = (TOKEN * max(weights.shape[axis] for weights in shown) for axis in (0, 1))
    columns = max(1, min(len(shown), 1500 // (wide + beside)))
    rows = -(-len(shown) // columns)
    width, height = max(columns * (wide + beside + 14), 9 * len(title)), rows * (high + above + 14) + 44
    figure = titled(width, height, title)
    for i, (weights, source, said) in enumerate(zip(shown, *ticks, strict=True)):
        left = i % columns * (wide + beside + 14) + beside
        top = 40 + i // columns * (high + above + 14) + above
        long, across = (TOKEN * size for size in weights.shape)
        axes = figure.add_axes((left / width, 1 - (top + long) / height, across / width, long / height))
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=max(1e-12, float(weights.max())), interpolation="nearest")
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(source)), source, rotation=90, fontsize=9, parse_math=False)
        axes.set_yticks(range(len(said)), said, fontsize=9, parse_math=False)
        axes.tick_params(length=0)
    return render(figure)


def lines(text: str, width: int) -> str:
    """A text wrapped to `width` characters and at most six lines."""
    return "\n".join(wrap(text, width, max_lines=6, placeholder=" …"))


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Letterbox an image uint8 (H, W, 3) into `size`, centered on white."""
    factor = min(size[0] / image.shape[0], size[1] / image.shape[1])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST if factor >= 2 else cv2.INTER_LINEAR
    canvas, top, left = np.full((*size, 3), 255, np.uint8), (size[0] - height) // 2, (size[1] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=method)
    return canvas
