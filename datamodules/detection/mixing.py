"""Mosaic and copy-paste augmentation: several images with objects made into one."""

from collections.abc import Callable

import numpy as np

from datamodules.detection.crop_resize import Shown, drop_degenerate, inside
from modules.contracts.keypoints import OCCLUDED

CENTER = (0.25, 0.75)  # range of the point that a mosaic's images share, as fractions of its sides
SMALLEST = 4  # pixels on each side, so that each of the four has one


def mosaic(size: tuple[int, int], tile: Callable[[int, tuple[int, int]], Shown], random: np.random.Generator) -> Shown:
    """Mosaic: four images around a random point (Bochkovskiy et al. 2020), each reaching to it.

    Args:
        size: height and width of the result.
        tile: image 0..3 for a tile of at most this height and width; the rest of the tile stays black.
    """
    y, x = (round(side * random.uniform(*CENTER)) for side in size)
    image, tiles = np.zeros((*size, 3), np.uint8), []
    for i in range(4):
        low, right = i // 2, i % 2
        part = tile(i, (size[0] - y if low else y, size[1] - x if right else x))
        height, width = part.image.shape[:2]
        top, left = y if low else y - height, x if right else x - width
        image[top : top + height, left : left + width] = part.image
        tiles.append(moved(part, top, left, size))
    boxes, labels = (np.concatenate([t[k] for t in tiles]) for k in (1, 2))
    masks = None if tiles[0].masks is None else np.concatenate([t.masks for t in tiles])
    return Shown(image, boxes, labels, masks, _all_points(tiles))


def moved(shown: Shown, top: int, left: int, size: tuple[int, int]) -> Shown:
    """Shift objects to pixels of an image of `size` that has this one at (top, left)."""
    masks = shown.masks
    if masks is not None:
        room = np.zeros((len(masks), *size), np.uint8)
        room[:, top : top + masks.shape[1], left : left + masks.shape[2]] = masks
        masks = room
    points = shown.keypoints
    if points is not None:
        points = points + np.array([left, top, 0], np.float32) * (points[..., 2:] > 0)
    return shown._replace(boxes=shown.boxes + np.array([left, top] * 2, np.float32), masks=masks, keypoints=points)


def paste(onto: Shown, other: Shown, chosen: np.ndarray, visible: float) -> Shown:
    """Copy-paste: objects of another image cut out and laid over this one at the same pixels (Ghiasi et al. 2021).

    Args:
        onto: the image, with masks.
        other: the other image, with masks; cut off at the borders of `onto`.
        chosen: bool (M,), true for its objects to paste.
        visible: share of an object that must stay visible, in [0, 1]; others are left out.
    """
    height, width = (min(a, b) for a, b in zip(onto.image.shape[:2], other.image.shape[:2], strict=True))
    new = np.zeros((int(chosen.sum()), *onto.image.shape[:2]), np.uint8)
    new[:, :height, :width] = other.masks[chosen, :height, :width]
    whole = np.concatenate([onto.masks.sum((1, 2)), other.masks[chosen].sum((1, 2))])
    cover = np.asarray(new.any(0))
    image = onto.image.copy()
    image[cover] = other.image[:height, :width][cover[:height, :width]]
    masks = np.concatenate([onto.masks * ~cover, new])
    kept = masks.sum((1, 2)) >= visible * whole
    labels = np.concatenate([onto.labels, other.labels[chosen]])
    boxes = np.concatenate([onto.boxes, other.boxes[chosen]])
    points = None
    if onto.keypoints is not None and other.keypoints is not None:
        points = np.concatenate([_hide(onto.keypoints, cover), inside(other.keypoints[chosen], cover.shape)])
    return drop_degenerate(Shown(image, boxes, labels, masks, points).only(kept))


def _hide(points: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Keypoints (N, K, 3); those that bool (H, W) covers are occluded."""
    columns, rows = (points[..., i].astype(int).clip(0, cover.shape[1 - i] - 1) for i in (0, 1))
    hidden = points.copy()
    hidden[..., 2] = np.where(cover[rows, columns], points[..., 2].clip(max=OCCLUDED), points[..., 2])
    return hidden


def _all_points(parts: list[Shown]) -> np.ndarray | None:
    points = [part.keypoints for part in parts if part.keypoints is not None]
    return np.concatenate(points) if points else None
