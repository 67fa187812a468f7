"""The built-in world as a data module of objects: boxes, classes and masks."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

import numpy as np
from pycocotools import mask as coco

from datamodules.base import Split
from datamodules.detection.crop_resize import around
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
        found = {split: draw(split, count, self.side, SCENE) for split, count in self.counts.items() if count}
        self.image_ids = numbers(found.values())
        return found


def draw(split: Split, count: int, side: int, settings: dict[str, Any], ground: bool = False) -> ObjectFiles:
    """Scenes of a split with their objects.

    Args:
        split: its name.
        count: number of images.
        side: of the square images in pixels.
        settings: of the scenes; see `scene`.
        ground: what no shape covers is an object, too, of a class behind all shapes.
    """
    images = np.empty((count, side, side, 3), np.uint8)
    found, labels, area, rles = [], [], [], []
    for i in range(count):
        drawn = scene(WORLD, FIRST[split] + i, **settings)
        images[i], ids = render(drawn, side)
        corners, shapes = boxes(ids, drawn)
        parts = masks(ids, drawn)
        if ground and not ids.all():
            parts, shapes = np.concatenate([parts, [ids == 0]]), np.append(shapes, len(SHAPES))
            corners = around(parts)
        found.append(corners)
        labels.append(shapes)
        area.append(parts.sum((1, 2)))
        rles += coco.encode(np.asfortranarray(parts.transpose(1, 2, 0), np.uint8))
    return ObjectFiles(
        cast(Any, Arrays(images, None, split)),
        shapes=np.full((count, 2), side, np.int32),
        starts=np.cumsum([0, *map(len, labels)]),
        boxes=np.concatenate(found),
        classes=np.concatenate(labels).astype(np.int32),
        crowd=np.zeros(len(rles), bool),
        area=np.concatenate(area).astype(np.float32),
        counts=packed([rle["counts"] for rle in rles]),
    )


def numbers(sources: Iterable[ObjectFiles]) -> dict[str, int]:
    """A number for each image by its id, from 1 on."""
    names = (source.id(i) for source in sources for i in range(len(source)))
    return {name: number for number, name in enumerate(names, 1)}
