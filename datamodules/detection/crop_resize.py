"""Crop, resize and flip of images with their boxes and masks, and SSD's IoU crop."""

from typing import NamedTuple

import cv2
import numpy as np
from pycocotools import mask as coco

from datamodules.detection.objects import PROPOSAL, RLE, Objects
from datamodules.letterbox import resize

Span = tuple[int, int, int]
"""Along one axis: the first pixel, the one after the last, and the number of pixels they are resized to."""

OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # SSD's; null keeps the whole image
TRIALS = 50
SIDES, RATIOS = (0.3, 1.0), (0.5, 2.0)  # SSD's crops: fractions of the image's sides, and width over height
THINNEST = 1.0  # pixels: thinner boxes are degenerate


class Shown(NamedTuple):
    """An augmented image with its objects.

    Args:
        image: uint8 (H, W, 3).
        boxes: float32 (N, 4), xyxy in its pixels, within it and at least a pixel wide and high.
        labels: int64 (N,).
        masks: uint8 (N, H, W), 1 where the object can be seen, none of them empty; null where only boxes are wanted.
        keypoints: float32 (N, K, 3), x, y in its pixels and visibility flag, zeros where outside; null without any.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None
    keypoints: np.ndarray | None = None

    def only(self, kept: np.ndarray) -> "Shown":
        """Select objects by index or bool (N,)."""
        masks = None if self.masks is None else self.masks[kept]
        points = None if self.keypoints is None else self.keypoints[kept]
        return Shown(self.image, self.boxes[kept], self.labels[kept], masks, points)


def crop_and_resize(
    image: np.ndarray,
    objects: Objects,
    rows: Span,
    columns: Span,
    masks: bool,
    visible: float,
    mirrored: bool = False,
    flipped: np.ndarray | None = None,
) -> Shown:
    """Crop and resize an image with its objects.

    Args:
        image: uint8 (H, W, 3), the original.
        objects: in it; all count as targets, crowds too.
        rows: the crop from top to bottom.
        columns: the crop from left to right.
        masks: return masks too; boxes are then those around the visible pixels.
        visible: share of a box that the crop must show at least, in [0, 1]; others are left out. Not for proposals.
        mirrored: flip horizontally afterward.
        flipped: index (K,) of the keypoint that takes the place of each in a flipped image.
    """
    (top, bottom, height), (left, right, width) = rows, columns
    image = resize(image[top:bottom, left:right], (height, width))
    factors = width / (right - left), height / (bottom - top)
    moved = (objects.boxes - np.array([left, top] * 2)) * np.array(factors * 2)
    boxes = clip(moved, (height, width))
    visible = visible * (objects.labels != PROPOSAL)
    kept = np.flatnonzero((areas(boxes) >= visible * areas(moved)) & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1))
    found = seen(objects.rles, kept, rows, columns) if masks else None
    points = None
    if objects.keypoints is not None:
        points = inside(move_points(objects.keypoints[kept], (left, top), factors), (height, width))
    shown = drop_degenerate(Shown(image, boxes[kept], objects.labels[kept], found, points))
    return mirror(shown, flipped) if mirrored else shown


def move_points(points: np.ndarray, corner: tuple[float, float], factors: tuple[float, float]) -> np.ndarray:
    """Keypoints (N, K, 3) in pixels of a crop with this corner (x, y), resized by factors (x, y); float32."""
    moved = points.astype(np.float32)
    moved[..., :2] = (points[..., :2] - np.array(corner)) * np.array(factors)
    return moved


def inside(points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Keypoints (N, K, 3); those that are not labeled, or outside of an image of `size`, become zeros."""
    seen = ((points[..., :2] >= 0) & (points[..., :2] <= np.array(size[::-1]))).all(-1)
    return points * (seen & (points[..., 2] > 0))[..., None]


def clip(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Clip boxes (N, 4) to an image of `size`, float32."""
    return np.clip(boxes, 0, np.array([size[1], size[0]] * 2)).astype(np.float32)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) of boxes (N, 4), xyxy."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def seen(rles: list[RLE], chosen: np.ndarray, rows: Span, columns: Span) -> np.ndarray:
    """Masks of the chosen objects in the crop: uint8 (N, height, width), resized by nearest neighbor."""
    rows, columns = (start + nearest(stop - start, length) for start, stop, length in (rows, columns))
    masks = np.zeros((len(chosen), len(rows), len(columns)), np.uint8)
    for mask, rle in zip(masks, (rles[i] for i in chosen), strict=True):
        left, top, width, height = coco.toBbox(rle)  # outside of it is nothing to copy
        y, x = (
            slice(*np.searchsorted(rows, [top, top + height])),
            slice(*np.searchsorted(columns, [left, left + width])),
        )
        mask[y, x] = coco.decode(rle)[np.ix_(rows[y], columns[x])]
    return masks


def nearest(length: int, target: int) -> np.ndarray:
    """Nearest source pixel, 0..length - 1, of each of `target` pixels, as cv2.INTER_NEAREST_EXACT."""
    return (2 * np.arange(target) + 1) * length // (2 * target)


def drop_degenerate(shown: Shown) -> Shown:
    """Drop degenerate objects (no pixel, or thinner than one); boxes become those around the masks if there are any."""
    if shown.masks is not None:
        shown = shown.only(shown.masks.any((1, 2)))
        shown = shown._replace(boxes=around(shown.masks))
    return shown.only(((shown.boxes[:, 2:] - shown.boxes[:, :2]) >= THINNEST).all(1))


def around(masks: np.ndarray) -> np.ndarray:
    """Tight boxes float32 (N, 4), xyxy, around masks (N, H, W), none of them empty."""
    edges = []
    for axis in (1, 2):  # columns, then rows
        found = masks.any(axis)
        edges.append((found.argmax(1), found.shape[1] - found[:, ::-1].argmax(1)))
    (left, right), (top, bottom) = edges
    return np.stack([left, top, right, bottom], 1).astype(np.float32)


def mirror(shown: Shown, flipped: np.ndarray | None = None) -> Shown:
    """Horizontal flip; `flipped` is the index (K,) of the keypoint that takes the place of each."""
    width = shown.image.shape[1]
    boxes = shown.boxes.copy()
    boxes[:, [0, 2]] = width - shown.boxes[:, [2, 0]]
    masks = None if shown.masks is None else np.ascontiguousarray(shown.masks[..., ::-1])
    points = shown.keypoints
    if points is not None:
        points = points[:, slice(None) if flipped is None else flipped].copy()
        points[..., 0] = np.where(points[..., 2] > 0, width - points[..., 0], 0)
    return Shown(cv2.flip(shown.image, 1), boxes, shown.labels, masks, points)


def overlapping_part(shape: tuple[int, int], boxes: np.ndarray, random: np.random.Generator) -> list[int]:
    """SSD's random IoU crop of an image: left, top, right and bottom (Liu et al. 2016).

    A minimum IoU is drawn, then crops until the IoU of one with some box reaches it, and the center of some box lies
    in it; the whole image if that does not happen, or there is no box.

    Args:
        shape: height and width of the image.
        boxes: float32 (N, 4), xyxy.
    """
    height, width = shape
    least = OVERLAPS[random.integers(len(OVERLAPS))]
    sides, places = random.uniform(*SIDES, (TRIALS, 2)), random.random((TRIALS, 2))
    sides = np.maximum(1, np.rint(sides * [width, height]))
    corner = np.rint(places * ([width, height] - sides))
    parts = np.concatenate([corner, corner + sides], 1)
    if least is None or not len(boxes):
        return [0, 0, width, height]
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centers >= corner[:, None]) & (centers <= corner[:, None] + sides[:, None])).all(2).any(1)
    ratio = sides[:, 0] / sides[:, 1]
    good = inside & (ratio >= RATIOS[0]) & (ratio <= RATIOS[1]) & (overlaps(parts, boxes).max(1) >= least)
    if not good.any():
        return [0, 0, width, height]
    return parts[good.argmax()].astype(int).tolist()


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) with others (M, 4), xyxy."""
    sides = np.minimum(boxes[:, None, 2:], others[:, 2:]) - np.maximum(boxes[:, None, :2], others[:, :2])
    both = sides.clip(0).prod(2)
    return both / (areas(boxes)[:, None] + areas(others) - both)
