"""Image grids, with or without captions."""

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np

from callbacks.figures.base import LINE_HEIGHT, PLAIN, render, rgb, titled

CELL = 150  # height of one image of a grid in pixels: a 32-pixel image must be large enough to recognize
FRAME = 4  # pixels around an image
EDGE = "#d8d8d8"  # of one pixel, where there are no frames: a white image must be seen as one
CHARACTER = 7  # width of a character of a caption in pixels


def grid(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    title: str,
    colors: Sequence[str] | None = None,
    columns: int | None = None,
) -> np.ndarray:
    r"""Images side by side, each with its caption below.

    Args:
        images: uint8 (H, W, 3), all of one size. An empty list draws the title alone.
        captions: one per image, "" for none; lines are separated by "\n".
        title: one line above all.
        colors: of each caption and frame, any name that matplotlib knows; None for black captions and thin gray edges.
        columns: images in a row; None chooses.
    """
    if not images:
        return render(titled(600, 60, title))
    height, width = images[0].shape[:2]
    # Whole factors keep the pixels of small images square and sharp.
    scale = round(CELL / height) if 2 * height <= CELL else CELL / height
    longest = max(len(line) for caption in captions for line in caption.split("\n"))
    cell, row = max(round(width * scale), CHARACTER * longest), round(height * scale)
    below = LINE_HEIGHT * max(caption.count("\n") + 1 if caption else 0 for caption in captions) + 14
    columns = columns or fitting_columns(len(images), (row + below) / (cell + 14))
    rows = -(-len(images) // columns)
    total_width, total_height = max(columns * (cell + 14) + 14, 9 * len(title)), rows * (row + below) + 52
    figure = titled(total_width, total_height, title)
    canvas = np.full((total_height, total_width, 3), 255, np.uint8)
    size = round(width * scale), row
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = 14 + index % columns * (cell + 14) + (cell - size[0]) // 2
        top = 44 + index // columns * (row + below)
        color, edge = (colors[index], FRAME) if colors else (PLAIN, 1)
        canvas[top - edge : top + row + edge, left - edge : left + size[0] + edge] = rgb(color if colors else EDGE)
        method = cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA
        canvas[top : top + row, left : left + size[0]] = cv2.resize(image, size, interpolation=method)
        if caption:
            x, y = (left + size[0] / 2) / total_width, 1 - (top + row + 8) / total_height
            # Class names are the user's: a "$" in them is no formula.
            figure.text(x, y, caption, ha="center", va="top", color=color, fontsize=9, parse_math=False)
    return np.minimum(render(figure), canvas)  # axes for each image take five times as long


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The image resized into a white square, uint8 (side, side, 3)."""
    scale = side / max(image.shape[:2])
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    room = np.full((side, side, 3), 255, np.uint8)
    room[top : top + small.shape[0], left : left + small.shape[1]] = small
    return room


def fitting_columns(count: int, aspect: float) -> int:
    """Columns of a grid a little wider than high with few gaps in its last row; `aspect` is height/width of a cell."""
    ideal = max(1, round((1.4 * count * aspect) ** 0.5))
    nearby = range(min(ideal + 1, count), max(ideal - 2, 0), -1)
    return min(nearby, key=lambda columns: -count % columns + abs(columns - ideal))


def side_by_side(views: Sequence[np.ndarray]) -> np.ndarray:
    """Views of one image (H, W, 3) in a row with thin white gaps; smaller ones in columns about as high as the first.

    All keep their pixels, so what looks smaller is smaller.
    """
    gap = max(1, views[0].shape[1] // 32)
    columns = []
    for _, same in groupby(views, lambda view: view.shape):
        stack = list(same)
        rows = max(1, round((views[0].shape[0] + gap) / (stack[0].shape[0] + gap)))
        columns += [_joined(stack[i : i + rows], gap, axis=0) for i in range(0, len(stack), rows)]
    return _joined(columns, gap, axis=1)


def _joined(parts: list[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Images (H, W, 3) one after the other along `axis`, white in the gaps and beside shorter ones."""
    across = 1 - axis
    longest, padded = max(part.shape[across] for part in parts), []
    for part in parts:
        margins = [(0, 0)] * 3
        margins[axis], margins[across] = (gap, 0), (0, longest - part.shape[across])
        padded.append(np.pad(part, margins, constant_values=255))
    joined = np.concatenate(padded, axis=axis)
    return joined[gap:] if axis == 0 else joined[:, gap:]
