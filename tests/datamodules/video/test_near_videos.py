"""Videos that look alike: copies encoded anew, resized, mirrored or of another rate; not others of the same scene."""

import cv2
import numpy as np
import pytest

from datamodules.video.near_videos import FRAMES, frame_thumbnails, near_videos
from datamodules.video.source import ClipArrays

COUNT, LENGTH, SIDE = 6, 24, 64


def scene(seed: int) -> np.ndarray:
    """A smooth background, uint8 (SIDE, SIDE, 3)."""
    tiles = np.random.default_rng(seed).integers(40, 216, (16, 16, 3)).astype(np.uint8)
    return cv2.resize(tiles, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def clip(background: int, motion: int, length: int = LENGTH) -> np.ndarray:
    """A bright disk that crosses a scene, uint8 (T, SIDE, SIDE, 3)."""
    start, end = np.random.default_rng(motion).uniform(12, SIDE - 12, (2, 2))
    ground, frames = scene(background), []
    for share in np.linspace(0, 1, length):
        x, y = (start + share * (end - start)).round().astype(int).tolist()
        frames.append(cv2.circle(ground.copy(), (x, y), 7, (250, 250, 250), -1))
    return np.stack(frames)


def looked(*clips: np.ndarray) -> np.ndarray:
    """Thumbnails of all."""
    return np.stack([frame_thumbnails(ClipArrays(c[None], np.zeros(1, np.int64), "train"), 0) for c in clips])


def encoded(frames: np.ndarray) -> np.ndarray:
    """Each frame as a poor JPEG of half the size."""
    small = (cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA) for frame in frames)
    return np.stack([cv2.imdecode(cv2.imencode(".jpg", f, [1, 40])[1], cv2.IMREAD_COLOR) for f in small])


@pytest.mark.parametrize(
    "copy",
    [encoded, lambda c: c[:, :, ::-1], lambda c: c[::2], lambda c: (c * 0.8).astype(np.uint8)],
    ids=["encoded", "mirrored", "half the rate", "darker"],
)
def test_copies_are_found_and_nothing_else(copy):
    clips = [clip(i, i) for i in range(COUNT)]
    found = near_videos(looked(*clips, *map(copy, clips)))
    assert [(pair.first, pair.second) for pair in found] == [(i, i + COUNT) for i in range(COUNT)]


def test_other_motion_before_the_same_background_is_no_copy():
    assert near_videos(looked(*(clip(0, motion) for motion in range(COUNT)))) == []


def test_still_videos_are_compared_by_their_frames_and_black_ones_not_at_all():
    still, black = np.repeat(scene(1)[None], LENGTH, 0), np.zeros((LENGTH, SIDE, SIDE, 3), np.uint8)
    found = near_videos(looked(still, encoded(still), clip(1, 1), black, black))
    assert [(pair.first, pair.second) for pair in found] == [(0, 1)]
    assert near_videos(np.zeros((0, FRAMES, 32, 32), np.uint8)) == []


@pytest.mark.parametrize("length", [1, 3])
def test_short_videos_have_as_many_thumbnails(length):
    assert looked(clip(0, 0, length)).shape == (1, FRAMES, 32, 32)
