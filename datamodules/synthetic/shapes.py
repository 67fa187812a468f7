"""The built-in world as a data module for classification."""

from typing import ClassVar, cast

import numpy as np

from datamodules.base import Split
from datamodules.images.image_data import ImageDataModule
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from datamodules.synthetic.render import render
from datamodules.synthetic.world import SHAPES, Scene, scene
from modules.contracts import check_range

WORLD = 0  # the seed of the images; the run's seed draws order, augmentation and labels, not another world
FIRST: dict[Split, int] = {"train": 0, "val": 10_000_000, "test": 20_000_000}  # scene of each split: they share none


def sizes(train: int, val: int, test: int) -> dict[Split, int]:
    """Samples to draw for each split.

    Raises:
        ConfigError: a negative number.
    """
    counts: dict[Split, int] = {"train": train, "val": val, "test": test}
    for split, count in counts.items():
        check_range(f"data.{split}", count)
    return counts


class Shapes(ImageDataModule):
    """Built-in data: images of one large shape among small ones on a cluttered ground; its shape is the class.

    Drawn when a run starts, the same on every machine. Color and ground say nothing about the class.

    Args:
        train: training images.
        val: validation images.
        test: test images.
        color_correlation: share of the images, 0..1, whose large shape has the color of its kind, as bananas are
            yellow; in the others, colors are random. Learning from colors needs some.
    """

    roles: ClassVar[dict[str, Role]] = {
        "train": "samples",
        "val": "samples",
        "test": "samples",
        "color_correlation": "samples",
    }

    def __init__(self, train: int = 4000, val: int = 500, test: int = 1000, color_correlation: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.counts = sizes(train, val, test)
        self.classes = list(SHAPES)
        check_range("data.color_correlation", color_correlation, high=1)
        self.color_correlation = color_correlation

    def sources(self) -> dict[Split, Arrays]:
        return {split: self._draw(split) for split in self.counts}

    def class_mask(self, sample: str, name: str) -> np.ndarray:
        split, _, index = sample.partition("/")
        drawn = self._scene(cast(Split, split), int(index))
        shown = [i for i, thing in enumerate(drawn.things, 1) if SHAPES[thing.shape] == name]
        return np.isin(render(drawn, self.image_size)[1], shown)

    def _scene(self, split: Split, index: int) -> Scene:
        return scene(WORLD, FIRST[split] + index, color_correlation=self.color_correlation)

    def _draw(self, split: Split) -> Arrays:
        count = self.counts[split]
        images = np.empty((count, self.image_size, self.image_size, 3), np.uint8)
        labels = np.empty(count, np.int64)
        for i in range(count):
            drawn = self._scene(split, i)
            images[i] = render(drawn, self.image_size)[0]
            labels[i] = drawn.things[drawn.main].shape
        return Arrays(images, labels, split)
