"""Near duplicates of videos: copies that were encoded anew, resized, brightened, mirrored or given another frame rate.

Two videos look alike when most of their frames do and what moves in them does too, because all that one camera films
has the same background.
"""

from collections import Counter, defaultdict

import cv2
import numpy as np

from datamodules.near_duplicates import SIDE, Near, near_duplicates, thumbnail
from datamodules.video.source import Clips

FRAMES = 8  # of a video that are looked at, one of each equal part
STILL = 1.0  # gray levels of standard deviation over time, below which nothing moves
ALIKE = 0.8  # least correlation of what moves


def frame_thumbnails(source: Clips, index: int) -> np.ndarray:
    """Thumbnails uint8 (FRAMES, SIDE, SIDE) of a video, evenly spread over its time.

    Raises:
        DataError: it cannot be decoded.
    """
    times = source.times(index)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    moments = times[0] + (times[-1] + step - times[0]) * (np.arange(FRAMES) + 0.5) / FRAMES
    numbers = np.maximum(np.searchsorted(times, moments, side="right") - 1, 0)
    wanted, places = np.unique(numbers, return_inverse=True)
    frames = source.frames(index, wanted, 2 * SIDE)
    return np.stack([thumbnail(frame) for frame in frames])[places]


def near_videos(thumbnails: np.ndarray) -> list[Near]:
    """Pairs of videos that look alike, each once.

    Args:
        thumbnails: uint8 (N, FRAMES, SIDE, SIDE).
    """
    votes: Counter[tuple[int, int, bool]] = Counter()
    sums: dict[tuple[int, int, bool], float] = defaultdict(float)
    for k in range(thumbnails.shape[1] if len(thumbnails) else 0):
        for pair in near_duplicates(thumbnails[:, k]):
            key = pair.first, pair.second, pair.mirrored
            votes[key] += 1
            sums[key] += pair.similarity
    found: dict[tuple[int, int], Near] = {}
    for (first, second, mirrored), count in votes.items():
        if 2 * count <= thumbnails.shape[1]:
            continue
        one, two = (_motion(thumbnails[i]) for i in (first, second))
        two = two[..., ::-1] if mirrored else two
        moving = [part.std() >= STILL for part in (one, two)]
        if moving[0] != moving[1] or (
            all(moving) and (one * two).sum() < ALIKE * np.sqrt((one**2).sum() * (two**2).sum())
        ):
            continue
        near = Near(first, second, sums[first, second, mirrored] / count, mirrored)
        known = found.get((first, second))
        if known is None or near.similarity > known.similarity:
            found[first, second] = near
    return [found[pair] for pair in sorted(found)]


def _motion(frames: np.ndarray) -> np.ndarray:
    """Difference from the mean of the frames uint8 (K, SIDE, SIDE), smoothed, float32."""
    smooth = np.stack([cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.5) for frame in frames])
    return smooth - smooth.mean(0)
