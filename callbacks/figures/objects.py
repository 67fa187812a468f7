"""Detections drawn over images: boxes, masks and labels."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as coco

from callbacks.figures.base import distinct
from callbacks.figures.overlays import Palette
from callbacks.figures.skeletons import draw_keypoints

PAPER = (255, 255, 255)
SMALLEST = 9  # pixels: the size of a tag's letters
SMALL = 12  # lines: the shorter side that most boxes must have for wide ones
MAX_SMALL_TAGS = 20  # small objects of an image that may all have tags
Place = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""


def object_palette(count: int) -> Palette:
    """RGB of `count` classes; without black, since background is not one of them."""
    return [tuple(round(255 * part) for part in color) for color in distinct(count)]


def further_palette(classes: int, count: int) -> Palette:
    """RGB of `count` keypoints, other than those of the classes."""
    return object_palette(classes + count)[classes:]


def stacked(rles: Sequence[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """Index map of overlapping masks, uint16 (*size): 0 for none, i + 1 for object i; the first object lies on top.

    Args:
        rles: compressed COCO RLE of masks, all of one size.
        size: height and width of the result; resampled from the masks' by nearest neighbor.
    """
    drawn = np.zeros(size, np.uint16)
    if not rles:
        return drawn
    rows, columns = (
        ((np.arange(side) + 0.5) * whole / side).astype(int) for side, whole in zip(size, rles[0]["size"], strict=True)
    )
    for i in reversed(range(len(rles))):
        left, top, width, height = coco.toBbox(rles[i]).astype(int).tolist()
        first, last = np.searchsorted(rows, (top, top + height)).tolist()
        start, end = np.searchsorted(columns, (left, left + width)).tolist()
        mask = coco.decode(rles[i])[rows[first:last, None], columns[start:end]]
        drawn[first:last, start:end][mask > 0] = i + 1
    return drawn


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    palette: Palette,
    tags: Sequence[str] = (),
    shown: np.ndarray | None = None,
    small: bool | None = None,
    points: np.ndarray | None = None,
    edges: Sequence[tuple[int, int]] = (),
) -> np.ndarray:
    """Draw boxes, and optionally masks, keypoints and tags, over an image, in the colors of the classes.

    Where most objects are small, lines are thin; many small objects have no tags, which would cover their neighbors.

    Args:
        image: uint8 (H, W, 3).
        boxes: (N, 4) xyxy in its pixels.
        labels: N classes.
        palette: RGB of each class.
        tags: N texts, written at the boxes where they cover no tag of an earlier object.
        shown: index map (H, W) from `stacked`, drawn half-transparent in the colors of the classes.
        small: draw as where most objects are small; null finds out by these boxes.
        points: keypoints (N, K, 3), x, y in its pixels, and visibility or score.
        edges: pairs of keypoints that a line joins.

    Returns:
        uint8 (H, W, 3).
    """
    colors = [palette[label] for label in labels]
    drawn = image.copy() if shown is None else _filled(image, shown, colors)
    small = mostly_small([(image, boxes)]) if small is None else small
    line, boxes = _line(image), np.asarray(boxes).round().astype(int).reshape(-1, 4)
    for (left, top, right, bottom), color in zip(boxes[::-1].tolist(), colors[::-1], strict=True):
        for ink, width in ((color, 1),) if small else ((PAPER, line + 2), (color, line)):
            cv2.rectangle(drawn, (left, top), (right, bottom), ink, width)
    drawn = (
        drawn
        if points is None
        else draw_keypoints(drawn, points, edges, further_palette(len(palette), points.shape[1]))
    )
    crowded = small and len(boxes) > MAX_SMALL_TAGS
    return drawn if crowded or not tags else _tagged(drawn, boxes.tolist(), colors, tags)


def mostly_small(panels: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    """True where wide lines would cover most of the boxes (N, 4) of some images uint8 (H, W, 3)."""
    corners = [(np.asarray(boxes).round().astype(int).reshape(-1, 4), _line(image)) for image, boxes in panels]
    sides = np.concatenate([np.zeros(0), *((c[:, 2:] - c[:, :2]).min(1) / line for c, line in corners)])
    return len(sides) > 0 and bool(np.median(sides) < SMALL)


def _line(image: np.ndarray) -> int:
    """Width of wide lines."""
    return max(2, round(max(image.shape[:2]) / 300))


def _filled(image: np.ndarray, shown: np.ndarray, colors: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """Half-transparent masks with outlines."""
    solid = np.array([(0, 0, 0), *colors], np.uint8).take(shown, axis=0)
    drawn = np.where(shown[..., None] > 0, cv2.addWeighted(image, 0.5, solid, 0.5, 0), image)
    width = 2 * max(1, round(max(shown.shape) / 800)) + 1
    change = cv2.morphologyEx(shown.astype(np.uint16), cv2.MORPH_GRADIENT, np.ones((width, width), np.uint8))
    edge = (change > 0) & (shown > 0)
    drawn[edge] = solid[edge]
    return drawn


def _tagged(
    image: np.ndarray, corners: list[list[int]], colors: Sequence[tuple[int, int, int]], tags: Sequence[str]
) -> np.ndarray:
    height, width = image.shape[:2]
    canvas, taken = Image.fromarray(image), np.zeros((0, 4), int)
    pen, font = ImageDraw.Draw(canvas), _font(max(SMALLEST, round(max(height, width) / 45)))
    for corner, color, tag in zip(corners, colors, tags, strict=True):
        place = _place(pen.textbbox((0, 0), tag, font), corner, (height, width))
        if _overlap(taken, place):
            continue
        taken = np.vstack([taken, place])
        pen.rectangle((*place[:2], place[2] - 1, place[3] - 1), fill=color)
        bright = np.dot(color, (0.299, 0.587, 0.114)) > 140
        pen.text((place[0] + 2, place[1] + 1), tag, "black" if bright else "white", font, anchor="lt")
    return np.asarray(canvas)


def _place(text: Sequence[float], corner: Sequence[int], size: tuple[int, int]) -> Place:
    """Position of a tag with that text box: above the object's box, or inside it at the edge of the image."""
    wide, high = round(text[2] - text[0]) + 4, round(text[3] - text[1]) + 3
    left = max(0, min(corner[0], size[1] - wide))
    top = corner[1] - high if corner[1] >= high else max(0, min(corner[1], size[0] - high))
    return left, top, left + wide, top + high


def _overlap(taken: np.ndarray, place: Place) -> bool:
    left, top, right, bottom = place
    apart = (taken[:, 2] <= left) | (right <= taken[:, 0]) | (taken[:, 3] <= top) | (bottom <= taken[:, 1])
    return not apart.all()


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and covers most alphabets."""
    from matplotlib.font_manager import findfont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)
