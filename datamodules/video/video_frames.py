"""Frames of videos as images, to pretrain on."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.cache import digest, stamp
from datamodules.images.image_data import ImageDataModule
from datamodules.setting_roles import Role
from datamodules.video.decode import scaled_shape
from datamodules.video.source import VideoFiles
from datamodules.video.video_folder import VideoFolder
from modules.contracts import check_range


@dataclass(frozen=True)
class FrameImages:
    """Image i is frame `numbers[i]` of video `rows[i]`; int64 (N,) each.

    Args:
        side: pixels of the shorter side, to which larger frames are shrunk.
    """

    videos: VideoFiles
    rows: np.ndarray
    numbers: np.ndarray
    side: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        return self.videos.labels[self.rows]

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of every image; null when they differ."""
        shapes = {scaled_shape(self.videos.shape(row), self._side(row)) for row in np.unique(self.rows)}
        return shapes.pop() if len(shapes) == 1 else None

    def image(self, index: int) -> np.ndarray:
        row = int(self.rows[index])
        return np.array(self.videos.frames(row, self.numbers[[index]], self._side(row))[0])

    def id(self, index: int) -> str:
        return f"{self.videos.id(int(self.rows[index]))}/{self.numbers[index]:06d}"

    def fingerprint(self) -> str:
        """A digest that changes with any frame and, as far as size and time of change tell, any video."""
        files = (stamp(self.videos.path(row)) for row in np.unique(self.rows))
        return digest([self.labels.tolist(), self.rows.tolist(), self.numbers.tolist(), self.side, *files])

    def _side(self, row: int) -> int | None:
        return self.side if min(self.videos.shape(row)) > self.side else None


class VideoFrames(ImageDataModule):
    """Frames of the videos that `VideoFolder` reads, as images with the class of their video: to pretrain on.

    Validation images are of other videos than those of training.

    Args:
        root: the folder.
        every: take one frame in so many.
        cache: keep decoded frames on disk, in the user's cache folder; without it each image costs seeking and
            decoding.
        cache_gb: at most this many gigabytes of each split.
    """

    roles: ClassVar[dict[str, Role]] = {
        "root": "location",
        "every": "samples",
        "cache": "loading",
        "cache_gb": "loading",
    }

    def __init__(self, root: str, every: int = 1, cache: bool = True, cache_gb: float = 8.0, **kwargs):
        super().__init__(**kwargs)
        check_range("data.every", every, 1)
        self.every, self.side = every, 2 * self.image_size  # small crops keep some detail
        self.videos = VideoFolder(
            root,
            image_size=self.side,
            cache=cache,
            cache_gb=cache_gb,
            val_split=self.val_split,
            on_error=self.on_error,
        )
        self.classes = self.videos.classes

    def sources(self) -> dict[Split, FrameImages]:
        self.videos.setup()
        self.skipped += self.videos.skipped
        self.val_split = 0.0  # already set aside, whole videos
        return {split: self._images(*part) for split, part in self.videos.splits.items()}

    def more(self) -> list[str]:
        lines = [f"of {line}" for line in self.videos.describe()]
        return [*super().more(), *lines]

    def _images(self, source: VideoFiles, rows: np.ndarray) -> FrameImages:
        numbers = [np.arange(0, len(source.times(row)), self.every) for row in rows]
        return FrameImages(source, np.repeat(rows, [len(n) for n in numbers]), np.concatenate(numbers), self.side)
