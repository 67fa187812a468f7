"""Video decoding by seeking: only the wanted frames and those that they depend on."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame

from datamodules.video.index import Index, only_video
from modules.contracts import DataError


def read_frames(path: Path, index: Index, wanted: np.ndarray, side: int | None = None) -> np.ndarray:
    """Frames uint8 RGB (N, H, W, 3), upright, the same as of the whole file decoded.

    From the key frame before a wanted frame on everything is decoded but frames that no other needs; only wanted ones
    are converted. A frame of another size than the file's first is scaled to that. Audio is passed over.

    Args:
        wanted: numbers of frames, int64 (N,), ascending, none twice.
        side: pixels that the shorter side shall have; null for as many as in the file.

    Raises:
        DataError: they cannot be decoded.
    """
    found: dict[int, np.ndarray] = {}
    reason = None
    # from the start where packets say too little, or where jumping did not lead to where they say
    for read in (_jumping, _counting) if len(index.keys) else (_counting,):
        try:
            with av.open(str(path)) as file:
                for number, frame in read(file, index, wanted):
                    found[number] = _pixels(frame, index, side)
        except av.error.FFmpegError as error:
            reason = error
        if len(found) == len(wanted):
            return np.stack([found[number] for number in wanted.tolist()])
    missing = min(set(wanted.tolist()) - set(found))
    why = f" ({reason.strerror})" if reason else ""
    raise DataError(
        f"{path}: frame {missing} of {len(index.times)} cannot be decoded{why}: mend it, or set --data.on_error skip"
    ) from reason


def scaled_shape(shape: tuple[int, int], side: int | None) -> tuple[int, int]:
    """Height and width when the shorter has `side` pixels; null keeps them."""
    factor = side / min(shape) if side else 1
    return round(shape[0] * factor), round(shape[1] * factor)


def _jumping(file: InputContainer, index: Index, wanted: np.ndarray) -> Iterator[tuple[int, VideoFrame]]:
    """Wanted frames with their numbers, decoded from the key frames before them."""
    video = only_video(file)
    gops = np.searchsorted(index.keys, index.times[wanted], side="right") - 1
    for run in np.split(wanted, np.flatnonzero(np.diff(gops) > 1) + 1):  # neighboring groups without a jump
        numbers = dict(zip(index.times[run].tolist(), run.tolist(), strict=True))
        key = index.keys[np.searchsorted(index.keys, index.times[run[0]], side="right") - 1]
        if key > index.keys[0] or run[0] > wanted[0]:
            file.seek(int(key), stream=video)
        for frame in _decoded(file, video, set(numbers)):
            if frame.pts in numbers:
                yield numbers[frame.pts], frame


def _decoded(file: InputContainer, video: av.VideoStream, times: set[int]) -> Iterator[VideoFrame]:
    """Frames from here on, until those of `times` are out."""
    codec, waiting = video.codec_context, set(times)
    for packet in file.demux(video):
        codec.skip_frame = "DEFAULT" if packet.pts in times else "NONREF"
        yield from codec.decode(packet if packet.size else None)
        waiting.discard(packet.pts)
        if not waiting:
            break
    yield from codec.decode(None)  # frames in the decoder's buffer


def _counting(file: InputContainer, index: Index, wanted: np.ndarray) -> Iterator[tuple[int, VideoFrame]]:
    """Wanted frames with their numbers, where packets cannot be trusted: decoded from the first on."""
    numbers = set(wanted.tolist())
    for number, frame in enumerate(file.decode(only_video(file))):
        if number in numbers:
            yield number, frame
        if number == wanted[-1]:
            return


def _pixels(frame: VideoFrame, index: Index, side: int | None) -> np.ndarray:
    height, width = scaled_shape(index.shape, side)
    if (height, width) != (frame.height, frame.width):  # before colors are computed: faster and more exact than both
        planes = frame.format.name if frame.format.name.startswith("yuv") else "rgb24"
        frame = frame.reformat(width, height, planes, interpolation="AREA", threads=1)
    return np.rot90(frame.to_ndarray(format="rgb24", threads=1), index.turns)
