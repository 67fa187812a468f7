"""Frame sampling of clips: uniform (TSN) or dense, at a frame rate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from modules.contracts import ConfigError, check_range

How = Literal["uniform", "dense"]
Short = Literal["loop", "pad", "error"]


@dataclass(frozen=True)
class Sampling:
    """Sampling of clips of `frames` steps from a video.

    Args:
        frames: steps of a clip (T).
        how: `uniform` takes one step of each of T equal segments of the whole video, a random one in training and the
            middle one otherwise (TSN, Wang et al. 2016); `dense` takes steps that are `stride` apart, from a random
            start in training and from evenly spread ones otherwise.
        stride: steps from one frame of a dense clip to the next.
        short_clips: of a video with fewer steps than a clip spans, `loop` begins again, `pad` repeats the last frame,
            `error` refuses it.
        clips: of each video to evaluate (K).
        fps: steps per second; null makes each frame a step.
    """

    frames: int
    how: How = "uniform"
    stride: int = 1
    short_clips: Short = "loop"
    clips: int = 1
    fps: float | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "clips"):
            check_range(f"data.{name}", getattr(self, name), 1)
        if self.fps is not None:
            check_range("data.fps", self.fps, 0.001, 10_000)
        if self.how == "uniform" and self.stride != 1:
            raise ConfigError(
                f"data.stride is {self.stride}, but uniform clips span the whole video: set data.sampling dense"
            )

    @property
    def span(self) -> int:
        """Steps from a clip's first frame to its last, both counted; the minimum for uniform clips."""
        return (self.frames - 1) * self.stride + 1

    def train(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Steps of a random clip of a video of `count` steps: int64 (1, T), ascending but for loops."""
        if count < self.span:
            return self._short(count)[None]
        if self.how == "uniform":
            return self._segments(count, random.random((1, self.frames)))
        return random.integers(count - self.span + 1) + self._offsets[None]

    def evaluate(self, count: int) -> np.ndarray:
        """Steps of the fixed clips for evaluation: int64 (K, T)."""
        if count < self.span:
            return np.tile(self._short(count), (self.clips, 1))
        if self.how == "uniform":
            return self._segments(count, (np.arange(self.clips)[:, None] + 0.5) / self.clips)
        room = count - self.span
        # one clip lies in the middle, several reach from the first step to the last
        starts = np.linspace(0, room, self.clips).round() if self.clips > 1 else np.array([room // 2])
        return starts.astype(np.int64)[:, None] + self._offsets

    @property
    def _offsets(self) -> np.ndarray:
        return np.arange(self.frames) * self.stride

    def _segments(self, count: int, within: np.ndarray) -> np.ndarray:
        """One step of each segment; `within` is its place in the segment, in [0, 1)."""
        return ((np.arange(self.frames) + within) * count / self.frames).astype(np.int64)

    def _short(self, count: int) -> np.ndarray:
        return self._offsets % count if self.short_clips == "loop" else np.minimum(self._offsets, count - 1)


def timeline(times: np.ndarray, fps: float | None) -> np.ndarray:
    """The frame that is shown at each step: int64 (steps,).

    Args:
        times: time stamps of N frames in seconds, ascending; float64 (N,).
        fps: steps per second; null makes each frame a step, however long it is shown.
    """
    if fps is None or len(times) == 0:
        return np.arange(len(times))
    times = times - times[0]
    # the last frame is shown about as long as the others
    duration = times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 1 / fps)
    steps = np.arange(max(1, round(duration * fps))) / fps
    return np.searchsorted(times, steps + 1e-6, side="right") - 1
