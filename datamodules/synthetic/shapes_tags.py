"""The built-in world as a data module of images with several classes each."""

from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.images.tagged_images import TaggedImages
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from datamodules.split_data import Samples
from datamodules.synthetic.render import boxes, render
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.shapes_objects import SCENE
from datamodules.synthetic.world import SHAPES, scene


class ShapesTags(TaggedImages):
    """Built-in data: two to five shapes on a cluttered ground; the shapes that can be seen are the tags of the image.

    Drawn when a run starts, the same on every machine. The images are those of `ShapesObjects` in another size.

    Args:
        train: training images.
        val: validation images.
        test: test images.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(self, train: int = 4000, val: int = 500, test: int = 1000, **kwargs):
        super().__init__(**kwargs)
        self.counts = sizes(train, val, test)
        self.val_split = self.val_split if val else 0.0  # none was asked for
        self.classes = list(SHAPES)

    def sources(self) -> dict[Split, Samples]:
        return {split: self._draw(split) for split in self.counts if self.counts[split]}

    def _draw(self, split: Split) -> Arrays:
        count, side = self.counts[split], self.image_size
        images = np.empty((count, side, side, 3), np.uint8)
        tags = np.zeros((count, len(SHAPES)), np.uint8)
        for i in range(count):
            drawn = scene(WORLD, FIRST[split] + i, **SCENE)
            images[i], ids = render(drawn, side)
            tags[i, boxes(ids, drawn)[1]] = 1
        return Arrays(images, None, split, tags=tags)
