"""The built-in world as a data module of semantic maps."""

from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.files import MaskArrays
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from datamodules.synthetic.render import render
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.world import SHAPES, scene

SCENE = {"extras": (1, 3), "extra_size": (0.2, 0.35)}  # things of 12 pixels and more at 64


class ShapesMasks(MaskDataModule):
    """Built-in data: shapes of several sizes on a cluttered ground; each pixel's class is its shape, or background.

    Drawn when a run starts, the same on every machine.

    Args:
        train: training images.
        val: validation images.
        test: test images.
        image_size: side of the square images in pixels.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(self, train: int = 2000, val: int = 300, test: int = 500, image_size: int = 64, **kwargs):
        super().__init__(image_size=image_size, **kwargs)
        self.counts = sizes(train, val, test)
        self.side = image_size
        self.classes = ["background", *SHAPES]

    def sources(self) -> dict[Split, Pairs]:
        return {split: self._draw(split) for split in self.counts}

    def _draw(self, split: Split) -> Pairs:
        count = self.counts[split]
        images = np.empty((count, self.side, self.side, 3), np.uint8)
        maps = np.empty((count, self.side, self.side), np.uint8)
        for i in range(count):
            drawn = scene(WORLD, FIRST[split] + i, **SCENE)
            images[i], ids = render(drawn, self.side)
            maps[i] = np.array([0, *(thing.shape + 1 for thing in drawn.things)], np.uint8)[ids]
        return Pairs(Arrays(images, None, split), MaskArrays(maps, split), Legend(tuple(range(len(self.classes)))))
