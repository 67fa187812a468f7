"""The built-in world as a data module of segments: shapes are things, the ground is stuff."""

from typing import ClassVar

from datamodules.base import Split
from datamodules.detection.objects import ObjectFiles
from datamodules.panoptic.panoptic_data import PanopticDataModule
from datamodules.setting_roles import Role
from datamodules.synthetic.shapes import sizes
from datamodules.synthetic.shapes_objects import draw, numbers
from datamodules.synthetic.world import SHAPES

SCENE = {"extras": (1, 2), "main_size": (0.4, 0.6), "extra_size": (0.3, 0.45)}  # things of 19 to 38 pixels at 64


class ShapesPanoptic(PanopticDataModule):
    """Built-in data: two or three shapes, each a segment of its own, on a cluttered ground, which is one segment.

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
        self.val_split = self.val_split if val else 0.0  # none was asked for
        self.side = image_size
        self.classes, self.things = [*SHAPES, "background"], list(SHAPES)
        self.category_ids = list(range(1, len(self.classes) + 1))

    def sources(self) -> dict[Split, ObjectFiles]:
        found = {split: draw(split, n, self.side, SCENE, ground=True) for split, n in self.counts.items() if n}
        self.image_ids = numbers(found.values())
        return found
