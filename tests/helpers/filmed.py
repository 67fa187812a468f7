"""Video files, and all frames of one as a reference decodes them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from datamodules.video.index import Index, read_index

CODECS = {".mp4": "libx264", ".avi": "mpeg4", ".mkv": "libx264", ".gif": "gif", ".mpeg": "mpeg2video", ".webm": "vp8"}
FORMATS = {"gif": "rgb8"}  # pixel formats of codecs without yuv420p


def frames(count: int, size: tuple[int, int] = (48, 64), seed: int = 0) -> np.ndarray:
    """Frames uint8 (N, H, W, 3): noise in half of the image, and a brightness that rises from frame to frame."""
    random = np.random.default_rng(seed)
    made = np.empty((count, *size, 3), np.uint8)
    made[:] = np.linspace(20, 230, count)[:, None, None, None]
    made[:, : size[0] // 2] = random.integers(0, 256, (count, size[0] // 2, size[1], 3))
    return made


def film(
    path: Path,
    count: int = 30,
    codec: str = "",
    size: tuple[int, int] = (48, 64),
    times: list[int] | None = None,
    turned: int = 0,
    sound: bool = False,
    seed: int = 0,
    rate: int = 25,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video with a key frame in twelve and two B-frames where the codec has them.

    Args:
        codec: null for the usual one of the suffix.
        times: of the frames in milliseconds; null for 25 a second.
        turned: degrees counterclockwise that players turn it by.
        sound: add a track of sound.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = codec or CODECS[path.suffix]
    options = {"g": "12"} | ({"bf": "2"} if codec in ("libx264", "mpeg2video") else {}) | (options or {})
    with av.open(str(path), "w") as file:
        video = file.add_stream({"vp8": "libvpx"}.get(codec, codec), rate=rate, options=options)
        video.height, video.width = size
        video.pix_fmt = FORMATS.get(codec, "yuv420p")
        if turned:
            video.set_display_rotation(turned)
        audio = file.add_stream("aac" if path.suffix == ".mp4" else "mp2", rate=44100) if sound else None
        for i, pixels in enumerate(frames(count, size, seed)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode())
        if audio:
            add_sound(file, audio, count / rate)
    return path


def whole(path: Path) -> np.ndarray:
    """All frames, upright, uint8 (N, H, W, 3), decoded from the first to the last."""
    with av.open(str(path)) as file:
        return np.stack(
            [np.rot90(f.to_ndarray(format="rgb24"), round(f.rotation / 90) % 4) for f in file.decode(video=0)]
        )


def index(path: Path) -> Index:
    found = read_index(path)
    assert isinstance(found, Index), found
    return found


def cut_short(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def add_sound(file: av.container.OutputContainer, audio: av.AudioStream, seconds: float) -> None:
    """Encode a tone."""
    for start in range(0, int(seconds * 44100), 1024):
        tone = np.sin(np.arange(start, start + 1024) / 20, dtype=np.float32)[None]
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2, 0), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 44100, start
        frame.time_base = Fraction(1, 44100)
        if audio.codec_context.format.name != "fltp":
            (frame,) = av.AudioResampler(audio.codec_context.format.name, "stereo", 44100).resample(frame)
        file.mux(audio.encode(frame))
    file.mux(audio.encode())
