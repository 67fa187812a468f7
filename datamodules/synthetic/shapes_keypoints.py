"""The built-in world as a data module of keypoints: the corners of arrows."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from datamodules.synthetic.render import boxes, corners, masks, render
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.shapes_objects import numbers
from datamodules.synthetic.world import SHAPES, Scene, scene
from modules.contracts.keypoints import ABSENT, OCCLUDED, VISIBLE, layout

SCENE = {"extras": (1, 3), "main_size": (0.45, 0.6), "extra_size": (0.32, 0.45)}  # things of 31 to 58 pixels at 96
ARROW = SHAPES.index("arrow")
REPLACED = ("circle", "square", "triangle", "star")  # drawn as arrows, so that half of all shapes are
POINTS = {"tip": 3, "left_wing": 2, "right_wing": 4, "left_tail": 0, "right_tail": 6}
"""Corner of the arrow's outline by name, left and right as seen in the direction in which it points."""
LINES = (
    ("tip", "left_wing"),
    ("tip", "right_wing"),
    ("left_wing", "left_tail"),
    ("right_wing", "right_tail"),
    ("left_tail", "right_tail"),
)
WITHIN = 0.9  # a corner is visible where the thing is seen this share of the way from its middle


class ShapesKeypoints(ObjectDataModule):
    """Built-in data: arrows among other shapes on a cluttered ground, with the places of their corners.

    Drawn when a run starts, the same on every machine. A corner behind another shape is occluded, one outside of the
    image is not labeled. An image may show no arrow.

    Args:
        train: training images.
        val: validation images.
        test: test images.
        image_size: side of the square images in pixels.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(self, train: int = 2000, val: int = 300, test: int = 500, image_size: int = 96, **kwargs):
        super().__init__(image_size=image_size, masks=False, keypoints=True, **kwargs)
        self.counts = sizes(train, val, test)
        self.val_split = self.val_split if val else 0.0  # none was asked for
        self.side = image_size
        self.classes, self.category_ids = [SHAPES[ARROW]], [1]
        self.layout = layout([*POINTS], LINES, self.flip_pairs)

    def sources(self) -> dict[Split, ObjectFiles]:
        found = {split: self._draw(split) for split in self.counts if self.counts[split]}
        self.image_ids = numbers(found.values())
        return found

    def _draw(self, split: Split) -> ObjectFiles:
        count, side = self.counts[split], self.side
        images = np.empty((count, side, side, 3), np.uint8)
        found, area, points, starts = [], [], [], [0]
        for i in range(count):
            drawn = with_arrows(scene(WORLD, FIRST[split] + i, **SCENE))
            images[i], ids = render(drawn, side)
            places, shapes = boxes(ids, drawn)
            arrows = shapes == ARROW
            found.append(places[arrows])
            area.append(masks(ids, drawn)[arrows].sum((1, 2)))
            seen = [k for k, thing in enumerate(drawn.things) if thing.shape == ARROW and (ids == k + 1).any()]
            points += [keypoints(drawn, k, ids) for k in seen]
            starts.append(len(points))
        files: Any = Arrays(images, None, split)
        return ObjectFiles(
            files,
            shapes=np.full((count, 2), side, np.int32),
            starts=np.array(starts),
            boxes=np.concatenate(found),
            classes=np.zeros(len(points), np.int32),
            crowd=np.zeros(len(points), bool),
            area=np.concatenate(area).astype(np.float32),
            counts=None,
            keypoints=np.array(points, np.float32).reshape(-1, len(POINTS), 3),
        )


def with_arrows(drawn: Scene) -> Scene:
    """The scene with arrows in the places of some shapes."""
    shapes = {SHAPES.index(name) for name in REPLACED}
    things = (replace(thing, shape=ARROW) if thing.shape in shapes else thing for thing in drawn.things)
    return replace(drawn, things=tuple(things))


def keypoints(drawn: Scene, number: int, ids: np.ndarray) -> np.ndarray:
    """Corners of an arrow, float32 (K, 3): x and y in pixels, and COCO's visibility flag.

    Args:
        drawn: the scene.
        number: of the arrow among its things.
        ids: id map (H, W) of the image.
    """
    side, chosen = len(ids), [*POINTS.values()]
    found, near = (corners(drawn.things[number], side, scale)[chosen] for scale in (1.0, WITHIN))
    places = np.concatenate([found, np.zeros((len(found), 1))], 1)
    for place, (x, y) in zip(places, near.astype(int).clip(0, side - 1).tolist(), strict=True):
        if (place[:2] >= 0).all() and (place[:2] <= side).all():
            place[2] = VISIBLE if ids[y, x] == number + 1 else OCCLUDED
    return np.where(places[:, 2:] > ABSENT, places, 0).astype(np.float32)
