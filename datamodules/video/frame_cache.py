"""Disk cache of decoded frames, so that a video is decoded once."""

import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from datamodules.cache import digest, folder, stamp
from datamodules.video.decode import scaled_shape
from datamodules.video.source import VideoFiles


@dataclass(frozen=True)
class CachedVideos(VideoFiles):
    """Video files whose decoded frames are cached as uint8 arrays, one memory-mapped file per video.

    The first videos are cached, as many as there is room for; the others are decoded each time. Workers, processes and
    later runs share the files.

    Args:
        side: shorter side in pixels, by which the size of a video is computed.
        most: limit of the cache in bytes.
    """

    side: int
    most: float

    @cached_property
    def fits(self) -> int:
        """Number of videos, from the first on, that fit into the cache."""
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
    """Write atomically; where it cannot be written, the video is decoded each time."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.save(file, frames)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
