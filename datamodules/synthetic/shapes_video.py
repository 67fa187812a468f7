"""The built-in world as a data module of clips."""

from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.setting_roles import Role
from datamodules.synthetic.motion import MOTIONS, clip
from datamodules.synthetic.render import film
from datamodules.synthetic.shapes import FIRST, WORLD, sizes
from datamodules.video.source import ClipArrays
from datamodules.video.video_data import VideoDataModule


class ShapesVideo(VideoDataModule):
    """Built-in data: clips of a shape that moves, grows or turns on a cluttered ground; its motion is the class.

    Drawn when a run starts, the same on every machine. No single frame says anything about the class.

    Args:
        train: training clips.
        val: validation clips.
        test: test clips.
        frames: of a clip.
        image_size: side of the square clips in pixels.
        flip: leave it off: mirrored, left is right and clockwise anticlockwise.
    """

    roles: ClassVar[dict[str, Role]] = {"train": "samples", "val": "samples", "test": "samples"}

    def __init__(
        self,
        train: int = 2000,
        val: int = 400,
        test: int = 800,
        frames: int = 8,
        image_size: int = 64,
        flip: bool = False,
        **kwargs,
    ):
        super().__init__(frames=frames, image_size=image_size, flip=flip, **kwargs)
        self.counts = sizes(train, val, test)
        self.classes = list(MOTIONS)

    def sources(self) -> dict[Split, ClipArrays]:
        return {split: self._draw(split) for split in self.counts}

    def _draw(self, split: Split) -> ClipArrays:
        count, frames = self.counts[split], self.sampling.frames
        clips = np.empty((count, frames, self.image_size, self.image_size, 3), np.uint8)
        labels = np.empty(count, np.int64)
        for i in range(count):
            still, moments, labels[i] = clip(WORLD, FIRST[split] + i, frames)
            clips[i] = film(still, moments, self.image_size)
        return ClipArrays(clips, labels, split)
