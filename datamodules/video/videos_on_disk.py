"""Base of the data modules of videos on disk: frame sampling, multi-view evaluation, unreadable files."""

import os
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.cache import folder
from datamodules.duplicates import Listed
from datamodules.file_names import locate
from datamodules.letterbox import sizes_in_words
from datamodules.setting_roles import Role
from datamodules.video.frame_cache import CachedVideos
from datamodules.video.probe import tails, video_files
from datamodules.video.sampling import How, Sampling, Short, timeline
from datamodules.video.source import FrameFolders, Paths, VideoFiles
from datamodules.video.video_data import VideoDataModule
from modules.contracts import ConfigError, check_range

VideoSource = VideoFiles | FrameFolders


class VideosOnDisk(VideoDataModule):
    """Base of the data modules of videos on disk.

    Args:
        sampling: `uniform` takes one frame of each of `frames` equal parts of the video, a random one in training, the
            middle one otherwise; `dense` takes frames `stride` apart from a random start, or from evenly spread ones.
        stride: frames from one of a dense clip to the next.
        fps: frames per second to resample the video to, by its time stamps; null takes each frame as it is.
        short_clips: of a video shorter than a clip, `loop` begins again, `pad` repeats the last frame, `error`
            refuses it.
        clips: of each video to evaluate; probabilities are averaged over all views.
        crops: squares of each such clip: 1 in the middle, 3 (or more) spread along the longer side.
        frames: of a clip.
        image_size: side of the square clips that the network sees, in pixels.
    """

    roles: ClassVar[dict[str, Role]] = {
        "sampling": "input",
        "stride": "input",
        "fps": "input",
        "short_clips": "input",
        "clips": "input",
        "crops": "input",
    }

    def __init__(
        self,
        sampling: How = "uniform",
        stride: int = 1,
        fps: float | None = None,
        short_clips: Short = "loop",
        clips: int = 1,
        crops: int = 1,
        frames: int = 16,
        image_size: int = 112,
        batch_size: int = 16,
        **kwargs,
    ):
        super().__init__(frames=frames, image_size=image_size, batch_size=batch_size, **kwargs)
        check_range("data.crops", crops, 1)
        self.sampling, self.crops = Sampling(frames, sampling, stride, short_clips, clips, fps), crops

    def broken(self, source: VideoSource) -> dict[int, str]:
        wrong = dict(source.wrong)
        if self.sampling.short_clips == "error":
            wrong |= {i: why for i in range(len(source)) if i not in wrong and (why := self._too_short(source, i))}
        return {i: f"{source.path(i)} {why}" for i, why in wrong.items()}

    def files_of(self, split: Split) -> Listed:
        source, rows = self.splits[split]
        return tails([source.path(i) for i in rows]) if isinstance(source, Paths) else []

    def about(self, split: Split) -> str:
        source, rows = self.splits[split]
        times = [source.times(i) for i in rows]
        frames = np.array([len(t) for t in times])
        sides = np.sort([source.shape(i) for i in rows], axis=0)
        said = f"{super().about(split)}; {_range(frames)} frames of {sizes_in_words(sides)} pixels"
        if isinstance(source, FrameFolders) and not source.rate:
            return said
        gaps = np.array([np.median(np.diff(t)) if len(t) > 1 else 1.0 for t in times])
        return f"{said}, {_range(1 / gaps)} a second, {_range(frames * gaps)} seconds"

    def _too_short(self, source: VideoSource, index: int) -> str:
        steps, span = len(timeline(source.times(index), self.sampling.fps)), self.sampling.span
        return (
            f"has {steps} frames, but a clip spans {span}: data.short_clips loop or pad takes it"
            if steps < span
            else ""
        )


class DecodedVideos(VideosOnDisk):
    """Base of the data modules of video files.

    Args:
        cache: keep decoded frames on disk, in the user's cache folder, as bytes of the needed size; each video is
            decoded once then, also for later runs.
        cache_gb: at most this many gigabytes of each split; the videos beyond are decoded each time.
    """

    roles: ClassVar[dict[str, Role]] = {"cache": "loading", "cache_gb": "loading"}

    def __init__(self, cache: bool = False, cache_gb: float = 8.0, **kwargs):
        super().__init__(**kwargs)
        if cache_gb <= 0:
            raise ConfigError(f"data.cache_gb is {cache_gb:g}, but it is above 0: set data.cache false for no cache")
        self.cache, self.cache_gb = cache, cache_gb

    def read(self, root: Path, paths: np.ndarray, labels: np.ndarray | None) -> VideoFiles:
        """The videos of a split; names from lists may be spelled as on another machine."""
        located = [(name, locate(os.fsdecode(name), [root])) for name in paths.tolist()]
        paths = np.array([name if path is None else os.fsencode(path.relative_to(root)) for name, path in located])
        found = video_files(root, paths, labels)
        if not self.cache:
            return found
        return CachedVideos(**vars(found), side=self.side, most=self.cache_gb * 1e9)

    def more(self) -> list[str]:
        if not self.cache:
            return []
        cached = {id(source): (source.fits, len(source)) for source, _ in self.splits.values()}
        fits, count = (sum(part) for part in zip(*cached.values(), strict=True))
        return [f"decoded frames of {fits:,} of {count:,} videos are cached in {folder() / 'frames'}"]


def _range(values: np.ndarray) -> str:
    low, high = (f"{value:,.3g}" if value < 1000 else f"{value:,.0f}" for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"
