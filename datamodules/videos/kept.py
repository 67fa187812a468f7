"""Decoded frames kept on disk, so that a video is decoded once."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.cache import digest, folder, stamp
from datamodules.videos.decode import scaled_shape
from datamodules.videos.source import VideoFiles


@dataclass(frozen=True)
class KeptVideos(VideoFiles):
    """Video files whose decoded frames are kept as uint8 arrays, one file per video, `most` bytes in all.

    The first videos are kept, as many as there is room for; the others are decoded each time. Workers, processes and
    later runs share the files, and what is not used leaves the memory.

    Args:
        side: the shorter side's pixels for which room is counted.
        most: bytes.
    """

    side: int
    most: float

    @cached_property
    def fits(self) -> int:
        """How many videos, from the first on, there is room for."""
        return int(np.searchsorted(np.cumsum([self._bytes(i) for i in range(len(self))]), self.most, side="right"))

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        if index >= self.fits:
            return super().frames(index, wanted, side)
        path = folder() / "frames" / f"{digest([stamp(self.path(index)), side])}.npy"
        with suppress(OSError, ValueError):
            return np.load(path, mmap_mode="r")[wanted]
        every = super().frames(index, np.arange(len(self.times(index))), side)
        _save(path, every)
        return every[wanted]

    def _bytes(self, index: int) -> int:
        found = self.indices[index]
        return len(found.times) * int(np.prod(scaled_shape(found.shape, self.side))) * 3 if found else 0


def _save(path: Path, frames: np.ndarray) -> None:
    """Whole or not at all; where it cannot be written, the video is decoded each time."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.save(file, frames)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
