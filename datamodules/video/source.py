"""Sources of clips: video files, folders of frames, or an array in memory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from datamodules.decoding import read_image
from datamodules.finding import find_images
from datamodules.video.decode import read_frames, scaled_shape
from datamodules.video.index import Index


class Clips(Protocol):
    """Videos by index; `labels` int64 (N,) or null."""

    labels: np.ndarray | None

    def __len__(self) -> int: ...

    def id(self, index: int) -> str: ...

    def times(self, index: int) -> np.ndarray:
        """Time stamp of each frame in seconds, float64 (frames,), ascending; its number if the rate is unknown."""

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        """Frames uint8 RGB (N, H, W, 3), upright, of ascending numbers int64 (N,), none twice.

        Args:
            side: pixels that the shorter side shall have; null for as many as in the file.

        Raises:
            DataError: they cannot be decoded.
        """


def middle_frame(source: Clips, index: int, side: int | None = None) -> np.ndarray:
    """The frame in the middle of a video, uint8 RGB (H, W, 3).

    Raises:
        DataError: it cannot be decoded.
    """
    return source.frames(index, np.array([len(source.times(index)) // 2]), side)[0]


@dataclass(frozen=True)
class ClipArrays:
    """Clips in memory: `clips` uint8 (N, T, H, W, 3), as large as asked; `labels` int64 (N,)."""

    clips: np.ndarray
    labels: np.ndarray
    prefix: str

    def __len__(self) -> int:
        return len(self.clips)

    def id(self, index: int) -> str:
        return f"{self.prefix}/{index:06d}"

    def times(self, index: int) -> np.ndarray:
        return np.arange(self.clips.shape[1], dtype=np.float64)

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        return self.clips[index][wanted]


@dataclass(frozen=True)
class Paths:
    """Videos below `root`: `paths` as bytes in one array, so that workers share them; `labels` int64 (N,) or null.

    `wrong` is the reason of those that cannot be decoded, by index.
    """

    root: Path
    paths: np.ndarray
    labels: np.ndarray | None
    wrong: dict[int, str]

    def __len__(self) -> int:
        return len(self.paths)

    def id(self, index: int) -> str:
        return os.fsdecode(self.paths[index])

    def path(self, index: int) -> Path:
        return self.root / self.id(index)


@dataclass(frozen=True)
class VideoFiles(Paths):
    """Video files; `indices` are their frame indices, null for those that cannot be decoded."""

    indices: list[Index | None]

    def times(self, index: int) -> np.ndarray:
        return self.indices[index].seconds

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of the frames."""
        return self.indices[index].upright

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        return read_frames(self.path(index), self.indices[index], wanted, side)


@dataclass(frozen=True)
class FrameFolders(Paths):
    """Folders of images, each one video, in the order of their names; `counts` and `shapes` of their frames.

    Args:
        rate: frames per second; null when unknown.
    """

    counts: np.ndarray
    shapes: np.ndarray
    rate: float | None

    def times(self, index: int) -> np.ndarray:
        return np.arange(self.counts[index]) / (self.rate or 1.0)

    def shape(self, index: int) -> tuple[int, int]:
        return tuple(self.shapes[index].tolist())

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        """Read frames; those of another shape than the first are scaled to that."""
        files, (height, width) = find_images(self.path(index)), scaled_shape(self.shape(index), side)
        images = (read_image(files[number]) for number in wanted)
        return np.stack([cv2.resize(p, (width, height), interpolation=_filter(p, height)) for p in images])


def _filter(image: np.ndarray, height: int) -> int:
    return cv2.INTER_AREA if height < len(image) else cv2.INTER_LINEAR
