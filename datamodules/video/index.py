"""Frame index of a video file: time stamps and key frames, from its packets, almost without decoding."""

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.stream import Discard
from av.video.stream import VideoStream

from datamodules.inspection import MAX_PIXELS
from modules.contracts import regular

# Containers and codecs with one frame and its time stamp per packet; of others all frames are decoded to count them.
TRUSTED = {
    "mov,mp4,m4a,3gp,3g2,mj2": {"h264", "hevc", "mpeg4", "mjpeg", "vp9", "libdav1d"},
    "matroska,webm": {"h264", "hevc", "mpeg4", "mjpeg", "vp9", "libdav1d"},
    "avi": {"mpeg4", "mjpeg"},
}
WHOLE = 0.9  # least share of the frames that the header promises; some writers count dropped ones
SLACK = 0.25  # seconds that may be missing at the end


class Index(NamedTuple):
    """The frames of one file.

    Args:
        shape: height and width as stored.
        turns: quarter turns counterclockwise that set the image upright.
        unit: of the times, in seconds.
        times: time stamp of each frame, int64 (N,), ascending.
        keys: times of frames from which decoding can begin, int64 (K,), ascending; none where it begins at the first.
    """

    shape: tuple[int, int]
    turns: int
    unit: float
    times: np.ndarray
    keys: np.ndarray

    def json(self) -> list[Any]:
        return [*self[:3], self.times.tolist(), self.keys.tolist()]

    @classmethod
    def of_json(cls, row: list[Any]) -> "Index":
        shape, turns, unit, times, keys = row
        return cls(tuple(shape), turns, unit, np.array(times, np.int64), np.array(keys, np.int64))

    @property
    def upright(self) -> tuple[int, int]:
        """Height and width of the upright image."""
        return self.shape[::-1] if self.turns % 2 else self.shape

    @property
    def seconds(self) -> np.ndarray:
        """Time stamp of each frame in seconds, float64 (N,)."""
        return self.times * self.unit


def read_index(path: Path, max_pixels: int = MAX_PIXELS) -> Index | str:
    """The index of a video file, or its fault, to follow its name in messages.

    Args:
        max_pixels: of a frame, as the header says; files of larger ones are not decoded.
    """
    if not path.exists():
        return "is missing"
    try:
        with av.open(str(regular(path))) as file:
            if not file.streams.video:
                return "has no video stream"
            width, height = file.streams.video[0].width, file.streams.video[0].height
            if width * height > max_pixels:
                return f"has frames of {width:,} x {height:,} pixels, more than {max_pixels:,} together"
            return _cut_short(file, path) or _index(file)
    except av.error.FFmpegError as error:
        return f"cannot be decoded ({error.strerror})"
    except OSError as error:
        return f"{error.strerror}"


def only_video(file: InputContainer) -> VideoStream:
    """The video stream, to be decoded by one thread: the loader's workers are the threads. Others are discarded."""
    video = file.streams.video[0]
    for stream in file.streams:
        if stream is not video:
            stream.discard = Discard.all
    video.codec_context.thread_count = 1
    return video


def _cut_short(file: InputContainer, path: Path) -> str:
    """A clause about a truncated file, else empty. Rewinds the file."""
    video, frames, end, corrupt = file.streams.video[0], 0, 0.0, False
    for packet in file.demux():
        if packet.size:
            frames += packet.stream is video
            corrupt |= packet.is_corrupt
            shown = packet.dts if packet.pts is None else packet.pts
            end = max(end, float(((shown or 0) + (packet.duration or 0)) * packet.time_base))
    if corrupt or frames < WHOLE * video.frames:
        return f"is cut short: {frames} frames" + (f" of {video.frames}" if video.frames else " and a part of one")
    promised = file.duration / av.time_base if file.duration and file.format.name in ("matroska,webm", "flv") else 0.0
    if promised - end > SLACK:
        return f"is cut short: {end:.1f} of {promised:.1f} seconds"
    if file.format.name == "gif" and path.read_bytes()[-1:] != b";":
        return f"is cut short: {frames} frames and no end"
    file.seek(0)
    return ""


def _index(file: InputContainer) -> Index | str:
    video = only_video(file)
    times, keys = _packets(file, video)
    file.seek(0)
    frames = file.decode(video)
    first = next(frames, None)
    if first is None:
        return "has no frame that can be decoded"
    if not keys:
        times = _counted([first.pts, *(frame.pts for frame in frames)], video)
    shape, turns = (first.height, first.width), round(first.rotation / 90) % 4
    return Index(shape, turns, float(video.time_base), np.array(times, np.int64), np.array(keys, np.int64))


def _packets(file: InputContainer, video: VideoStream) -> tuple[list[int], list[int]]:
    """Time stamps of all frames and of key frames from the packets; empty where these cannot be trusted."""
    codec = video.codec_context
    if codec.name not in TRUSTED.get(file.format.name, ()) or (file.format.name == "avi" and codec.has_b_frames):
        return [], []
    packets = [packet for packet in file.demux(video) if packet.size and not packet.is_discard]
    times = [packet.pts for packet in packets]
    keys = [packet.pts for packet in packets if packet.is_keyframe]
    if not keys or None in times or len(set(times)) < len(times):
        return [], []
    return sorted(time for time in times if time >= min(keys)), sorted(keys)


def _counted(times: list[int | None], video: VideoStream) -> list[int]:
    """The times of decoded frames; evenly spread where they do not ascend."""
    if None not in times and all(a < b for a, b in pairwise(times)):
        return times
    step = 1 / ((video.average_rate or 25) * video.time_base)
    return [round(i * step) for i in range(len(times))]
