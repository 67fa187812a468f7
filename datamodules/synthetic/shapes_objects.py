"""The built-in world as a data module of objects: boxes, classes and masks."""

from typing import ClassVar

import numpy as np
from pycocotools import mask as coco

from datamodules.base import Split
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles, packed
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from datamodules.synthetic.render import boxes, masks, render
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.world import SHAPES, scene

SCENE = {"extras": (1, 4), "main_size": (0.3, 0.45), "extra_size": (0.22, 0.38)}  # things of 20 to 43 pixels at 96


class ShapesObjects(ObjectDataModule):
    """Built-in data: two to five shapes on a cluttered ground, to be detected and classified.

    Drawn when a run starts, the same on every machine. Boxes and masks are of the visible part of a shape.

    Args:
        train: training images.
        val: validation images.
        test: test images.
        image_size: side of the square images in pixels.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(self, train: int = 2000, val: int = 300, test: int = 500, image_size: int = 96, **kwargs):
        super().__init__(image_size=image_size, **kwargs)
        self.counts = sizes(train, val, test)
        self.val_split = self.val_split if val else 0.0  # none was asked for
        self.side = image_size
        self.classes, self.category_ids = list(SHAPES), list(range(1, len(SHAPES) + 1))

    def sources(self) -> dict[Split, ObjectFiles]:
        found = {split: self._draw(split) for split in self.counts if self.counts[split]}
        names = (source.id(i) for source in found.values() for i in range(len(source)))
        self.image_ids = {name: number for number, name in enumerate(names, 1)}
        return found

    def _draw(self, split: Split) -> ObjectFiles:
        count, side = self.counts[split], self.side
        images = np.empty((count, side, side, 3), np.uint8)
        found, labels, area, rles = [], [], [], []
        for i in range(count):
            drawn = scene(WORLD, FIRST[split] + i, **SCENE)
            images[i], ids = render(drawn, side)
            for each, part in zip((found, labels), boxes(ids, drawn), strict=True):
                each.append(part)
            parts = masks(ids, drawn)
            area.append(parts.sum((1, 2)))
            rles += coco.encode(np.asfortranarray(parts.transpose(1, 2, 0), np.uint8))
        return ObjectFiles(
            Arrays(images, None, split),
            shapes=np.full((count, 2), side, np.int32),
            starts=np.cumsum([0, *map(len, labels)]),
            boxes=np.concatenate(found),
            classes=np.concatenate(labels).astype(np.int32),
            crowd=np.zeros(len(rles), bool),
            area=np.concatenate(area).astype(np.float32),
            counts=packed([rle["counts"] for rle in rles]),
        )
