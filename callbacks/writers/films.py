"""Videos, written frame by frame (PyAV, H.264)."""

from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np

UNIT = Fraction(1, 90_000)  # of time stamps, in seconds


class Film:
    """A video in the making; `close` completes it.

    Args:
        file: path, or an open file, of an MP4.
        rate: frames per second, where `add` is not told the time of a frame.
        crf: quality of H.264, lower is better.
    """

    def __init__(self, file: Path | IO[bytes], rate: int = 25, crf: int = 18):
        self.file = av.open(str(file) if isinstance(file, Path) else file, "w", format="mp4")
        self.rate, self.crf, self.count = rate, crf, 0
        self.video: av.VideoStream | None = None

    def add(self, pixels: np.ndarray, seconds: float | None = None) -> None:
        """Add a frame uint8 (H, W, 3); all have the size of the first, odd sides lose a pixel.

        Args:
            pixels: of the frame.
            seconds: its time, ascending.
        """
        height, width = (side - side % 2 for side in pixels.shape[:2])
        if self.video is None:
            size = {"height": height, "width": width, "pix_fmt": "yuv420p", "time_base": UNIT}
            self.video = self.file.add_stream("libx264", rate=self.rate, options={"crf": str(self.crf)}, **size)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), "rgb24")
        seconds = self.count / self.rate if seconds is None else seconds
        frame.pts, frame.time_base = round(seconds / UNIT), UNIT
        self.file.mux(self.video.encode(frame))
        self.count += 1

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self.video is not None:
            self.file.mux(self.video.encode())
        self.file.close()
