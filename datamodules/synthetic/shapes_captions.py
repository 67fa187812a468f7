"""The built-in world as a data module of images with captions."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.captions.caption_data import CaptionData
from datamodules.captions.samples import CaptionedArrays
from datamodules.setting_roles import Role
from datamodules.synthetic.language import Group, Statement
from datamodules.synthetic.render import render
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.synthetic.world import Scene, Thing, scene

SCENE = {"extras": (1, 1), "main_size": (0.4, 0.55), "extra_size": (0.3, 0.4)}  # two things of 19 to 35 pixels at 64
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
INSIDE = 0.4  # least distance of a thing's center from every side, as a share of its size
SLANTED = 2.0  # one thing is beside another, not above it, if it lies this many times as far to the side as up or down


class ShapesCaptions(CaptionData):
    """Built-in captions: two shapes on a cluttered ground, with true sentences on their position to each other.

    Drawn when a run starts, the same on every machine; no thing is cut off at a side. An image has four captions, or
    eight where one thing lies both beside and above the other; each is complete.

    Args:
        train: training images.
        val: validation images.
        test: test images.
        image_size: side of the square images in pixels.
        augment: none that mirrors, turns or recolors images: their captions would be wrong.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(self, train: int = 4000, val: int = 300, test: int = 500, image_size: int = 64, **kwargs):
        super().__init__(image_size=image_size, **kwargs)
        self.counts = sizes(train, val, test)
        self.val_split = self.val_split if val else 0.0  # none was asked for

    def sources(self) -> dict[Split, CaptionedArrays]:
        return {split: self._draw(split) for split in self.counts if self.counts[split]}

    def _draw(self, split: Split) -> CaptionedArrays:
        images = np.empty((self.counts[split], self.image_size, self.image_size, 3), np.uint8)
        chosen = list(islice(filter(_is_whole, map(drawn_at, count(FIRST[split]))), len(images)))
        for image, drawn in zip(images, chosen, strict=True):
            image[:] = render(drawn, self.image_size)[0]
        captions = [said(drawn) for drawn in chosen]
        return CaptionedArrays(images, None, split, captions)


def drawn_at(index: int) -> Scene:
    """A scene in which every thing wears the texture of its shape."""
    drawn = scene(WORLD, index, **SCENE)
    return replace(drawn, things=tuple(replace(thing, texture=thing.shape) for thing in drawn.things))


def said(drawn: Scene) -> list[str]:
    """All captions of a scene: the places of its main thing and every other, as seen from each other."""
    main = drawn.things[drawn.main]
    return [
        Statement(_group(subject), word, _group(other), frame).english()
        for extra in drawn.things
        if extra is not main
        for place in _places(main, extra)
        for subject, word, other in ((main, place, extra), (extra, OPPOSITE[place], main))
        for frame in ("plain", "place first")
    ]


def _is_whole(drawn: Scene) -> bool:
    """True if every thing lies within the image, so that its shape can be recognized."""
    return all(INSIDE * t.size <= min(t.x, t.y, 1 - t.x, 1 - t.y) for t in drawn.things)


def _places(thing: Thing, other: Thing) -> Iterator[str]:
    """Place of a thing as seen from the other: one of OPPOSITE, or two if it lies aslant."""
    right, down = thing.x - other.x, thing.y - other.y
    if abs(right) * SLANTED >= abs(down):
        yield "right of" if right > 0 else "left of"
    if abs(down) * SLANTED >= abs(right):
        yield "below" if down > 0 else "above"


def _group(thing: Thing) -> Group:
    return Group(1, "", thing.color, thing.shape)
