"""Where clips come from."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Clips(Protocol):
    """Videos by index; `labels` int64 (N,) or null."""

    labels: np.ndarray | None

    def __len__(self) -> int: ...

    def id(self, index: int) -> str: ...

    def steps(self, index: int) -> np.ndarray:
        """The frame at each step of the video, int64 (steps,)."""

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        """Frames uint8 RGB (N, H, W, 3), upright, of ascending numbers int64 (N,), none twice.

        Args:
            side: pixels that the shorter side shall have; null for as many as in the file.

        Raises:
            DataError: they cannot be decoded.
        """


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

    def steps(self, index: int) -> np.ndarray:
        return np.arange(self.clips.shape[1])

    def frames(self, index: int, wanted: np.ndarray, side: int | None) -> np.ndarray:
        return self.clips[index][wanted]
