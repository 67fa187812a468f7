"""Statistics of annotated objects: counts and sizes by class, images by class, empty images, crowds."""

from typing import NamedTuple

import numpy as np

from datamodules.detection.objects import ObjectFiles
from datamodules.letterbox import TargetSize

SMALL, LARGE = 32**2, 96**2  # pixels of area, as COCO counts
BAR = 24  # characters of the longest bar of a histogram
MAX_LINES = 10  # classes of a histogram


class Tally(NamedTuple):
    """Counts of the objects of some images, crowds left out.

    Args:
        sizes: int64 (C, 3), small, medium and large ones of each class.
        images: int64 (C,), images that show the class.
        empty: int64 (E,), the images without any object.
        crowds: regions of many objects, in all images.
    """

    sizes: np.ndarray
    images: np.ndarray
    empty: np.ndarray
    crowds: int

    @property
    def objects(self) -> np.ndarray:
        """Objects of each class, int64 (C,)."""
        return self.sizes.sum(1)


def tally(source: ObjectFiles, indices: np.ndarray, classes: int) -> Tally:
    """Count the objects of the images `indices`."""
    rows, chosen = places(source, indices)
    crowd = source.crowd[chosen]
    rows, chosen = rows[~crowd], chosen[~crowd]
    labels, area = source.classes[chosen].astype(np.int64), source.area[chosen]
    size = (area > SMALL).astype(np.int64) + (area > LARGE)
    sizes = np.bincount(labels * 3 + size, minlength=classes * 3).reshape(classes, 3)
    shown = np.unique(np.stack([labels, rows]), axis=1)[0]
    images = np.bincount(shown, minlength=classes)
    return Tally(sizes, images, np.setdiff1d(indices, rows), int(crowd.sum()))


def places(source: ObjectFiles, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The objects of the images `indices`: the image of each, and its place in the arrays."""
    rows = np.repeat(np.arange(len(source)), np.diff(source.starts))
    chosen = np.flatnonzero(np.isin(rows, indices))
    return rows[chosen], chosen


def box_sizes(source: ObjectFiles, indices: np.ndarray, target_size: TargetSize) -> np.ndarray:
    """float64 (N, 2): width and height of each box in pixels of the images fitted into `target_size`; no crowds."""
    rows, chosen = places(source, indices)
    kept = ~source.crowd[chosen]
    boxes, shapes = source.boxes[chosen[kept]].astype(np.float64), source.shapes[rows[kept]]
    scale = (np.array(target_size) / shapes).min(1, keepdims=True) if target_size else 1.0
    return (boxes[:, 2:] - boxes[:, :2]) * scale


def shape_groups(shapes: np.ndarray, target_size: TargetSize) -> np.ndarray:
    """Aspect-ratio group int64 (N,) of images of height and width (N, 2), fitted into `target_size`.

    Images of one group differ in their sides by about a fourth at most.
    """
    shown = shapes.astype(np.float64)
    if target_size:
        shown *= (np.array(target_size) / shown).min(1, keepdims=True)
    height, width = np.rint(3 * np.log2(shown)).astype(np.int64).T
    return 100 * height + width


def object_counts(source: ObjectFiles, indices: np.ndarray) -> np.ndarray:
    """int64 (N,): objects of each of the images `indices`; no crowds."""
    rows, chosen = places(source, indices)
    return np.bincount(rows[~source.crowd[chosen]], minlength=len(source))[indices]


def histogram(classes: list[str], found: Tally, split: str, noun: str = "objects") -> list[str]:
    """Lines of the startup summary: a histogram of the objects by class, the `MAX_LINES` most frequent of many."""
    counts, shown = found.objects, range(len(classes))
    if len(classes) > MAX_LINES:
        shown = np.argsort(-counts, kind="stable")[:MAX_LINES].tolist()
    most, wide = max(1, counts.max()), max(len(classes[index]) for index in shown)
    lines = [
        f"{noun} in {split} by class, and images that show it; small ones cover up to 32 x 32 pixels, large ones more "
        "than 96 x 96:"
    ]
    for index in shown:
        name, count, sizes, images = classes[index], counts[index], found.sizes[index], found.images[index]
        shares = (f"{part:3.0f} %" for part in 100 * sizes / max(1, count))
        shares = ", ".join(f"{share} {size}" for share, size in zip(shares, ("small", "medium", "large"), strict=True))
        bar = "█" * -(-BAR * count // most)
        lines.append(f"  {name:{wide}} {count:7,} in {images:6,}  {shares}  {bar}".rstrip())
    if others := len(classes) - len(shown):
        rest = counts.sum() - counts[shown].sum()
        lines.append(f"  classes left out: {others:,}, with {rest:,} {noun}; without any: {(counts == 0).sum():,}")
    return lines
