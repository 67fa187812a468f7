"""Images of colored rectangles on gray: their pixels tell where their objects are."""

from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco

from datamodules.base import Split
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles, packed

COLORS = np.array([(230, 20, 20), (20, 230, 20), (20, 20, 230), (230, 230, 20), (230, 20, 230), (20, 230, 230)])
GRAY = 128
SHAPES = ((96, 128), (120, 90), (100, 100), (64, 160))


@dataclass(frozen=True)
class Images:
    images: list[np.ndarray]
    prefix: str
    root: None = None

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def id(self, index: int) -> str:
        return f"{self.prefix}/{index}"


def rectangles(
    count: int = 8,
    seed: int = 0,
    shapes: tuple[tuple[int, int], ...] = SHAPES,
    most: int = 4,
    masks: bool = True,
    crowds: int = 0,
    prefix: str = "train",
) -> ObjectFiles:
    """Images of 0 to `most` rectangles, each of another class and none above another.

    Args:
        crowds: that many objects of each image, if it has so many, are crowds.
    """
    random = np.random.default_rng(seed)
    images, boxes, labels, crowd = [], [], [], []
    for i in range(count):
        height, width = shapes[i % len(shapes)]
        image, taken = np.full((height, width, 3), GRAY, np.uint8), np.zeros((height, width), bool)
        classes = random.permutation(len(COLORS))[: i % (most + 1)]
        mine = []
        for label in classes:
            while True:
                w, h = random.integers(14, 34, 2)
                x, y = random.integers(0, width - w), random.integers(0, height - h)
                if not taken[max(0, y - 3) : y + h + 3, max(0, x - 3) : x + w + 3].any():
                    break
            image[y : y + h, x : x + w], taken[y : y + h, x : x + w] = COLORS[label], True
            mine.append((x, y, x + w, y + h))
        images.append(image)
        boxes.append(np.array(mine, np.float32).reshape(-1, 4))
        labels.append(classes)
        crowd.append(np.arange(len(classes)) < crowds)
    every = np.concatenate(boxes)
    return ObjectFiles(
        Images(images, prefix),
        shapes=np.array([image.shape[:2] for image in images], np.int32),
        starts=np.cumsum([0, *map(len, boxes)]),
        boxes=every,
        classes=np.concatenate(labels).astype(np.int32),
        crowd=np.concatenate(crowd).astype(bool),
        area=(every[:, 2:] - every[:, :2]).prod(1),
        counts=packed([run["counts"] for b, im in zip(boxes, images, strict=True) for run in runs(b, im)])
        if masks
        else None,
    )


def runs(boxes: np.ndarray, image: np.ndarray) -> list[dict]:
    """Run-length encodings of filled boxes."""
    drawn = np.zeros((*image.shape[:2], len(boxes)), np.uint8, order="F")
    for k, (x0, y0, x1, y1) in enumerate(boxes.astype(int)):
        drawn[y0:y1, x0:x1, k] = 1
    return coco.encode(drawn)


class Rectangles(ObjectDataModule):
    """Rectangles as a data module, with settings that suit tests; `counts` is the number of images of each split."""

    def __init__(self, counts: dict[Split, int] | None = None, drawn: dict | None = None, **settings):
        super().__init__(**({"image_size": 128, "batch_size": 4, "workers": 0, "val_split": 0.0} | settings))
        self.counts, self.drawn = counts or {"train": 24, "val": 9}, drawn or {}
        self.classes, self.category_ids = [f"color {i}" for i in range(len(COLORS))], [10, 20, 30, 40, 50, 60]

    def sources(self) -> dict[Split, ObjectFiles]:
        return {
            split: rectangles(count, seed, prefix=split, **self.drawn)
            for seed, (split, count) in enumerate(self.counts.items())
        }


def named(image: np.ndarray) -> np.ndarray:
    """Class of the nearest color of each pixel, int64 (H, W), or a higher number for gray and black."""
    known = np.concatenate([COLORS, [[GRAY] * 3, [0] * 3]]).astype(np.float32)
    return ((known**2).sum(1) - 2 * image.astype(np.float32) @ known.T).argmin(-1)


def assert_boxes_fit(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray) -> int:
    """Assert that each box ends where its color does, to a pixel.

    All pixels of a class's color, but for strips of two, must lie in a box of that class. Touching boxes of one class
    are only asked the second. Returns the number of boxes that were asked both.
    """
    height, width = image.shape[:2]
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= [width, height] * 2).all()
    asked, seen = 0, named(image)
    for label in np.unique(seen[seen < len(COLORS)]):
        color, mine = seen == label, boxes[labels == label]
        left_over = color.astype(np.uint8)
        wide = np.concatenate([mine[:, :2].astype(int) - 2, mine[:, 2:].astype(int) + 3], 1).clip(0)
        alone = ((wide[:, None, :2] < wide[:, 2:]) & (wide[:, None, 2:] > wide[:, :2])).all(2).sum(1) == 1
        for box, (left, top, right, bottom), free in zip(mine, wide, alone, strict=True):
            left_over[top:bottom, left:right] = 0
            if free:
                rows, columns = np.nonzero(color[top:bottom, left:right])
                found = [left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1]
                assert np.abs(found - box).max() <= 1, (found, box)
                asked += 1
        assert not cv2.erode(left_over, np.ones((3, 3))).any(), f"class {label} shows where it has no box"
    assert set(labels.tolist()) <= set(seen.ravel().tolist())
    return asked


def assert_masks_fit(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, masks: np.ndarray) -> None:
    """Assert that each mask covers the pixels of its color within its box, and that its box is tight."""
    assert masks.dtype == np.uint8
    assert masks.shape == (len(boxes), *image.shape[:2])
    seen = named(image)
    for box, label, mask in zip(boxes, labels, masks, strict=True):
        rows, columns = np.nonzero(mask)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()
        part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        both, color = mask[part] > 0, seen[part] == label
        assert (both & color).sum() >= 0.85 * (both | color).sum() or (both ^ color).sum() < 30
