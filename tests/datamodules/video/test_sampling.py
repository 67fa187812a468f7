"""Frame sampling of clips, against closed forms."""

import numpy as np
import pytest

from datamodules.video.sampling import Sampling, timeline
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


def drawn(sampling: Sampling, count: int, times: int = 2000) -> np.ndarray:
    random = np.random.default_rng(0)
    return np.concatenate([sampling.train(count, random) for _ in range(times)])


def test_the_middle_of_each_segment_is_judged():
    assert Sampling(4).evaluate(40).tolist() == [[5, 15, 25, 35]]
    assert Sampling(3).evaluate(10).tolist() == [[1, 5, 8]]  # 10/6, 30/6, 50/6
    assert Sampling(5).evaluate(5).tolist() == [[0, 1, 2, 3, 4]]


def test_several_uniform_clips_share_the_segments():
    clips = Sampling(4, clips=5).evaluate(40)
    assert clips.tolist() == [[k * 2 + 1 + 10 * t for t in range(4)] for k in range(5)]


def test_training_draws_each_frame_of_each_segment_equally_often():
    clips = drawn(Sampling(4), 40)
    for segment in range(4):
        counts = np.bincount(clips[:, segment] - 10 * segment, minlength=10)
        assert len(counts) == 10
        assert np.abs(counts - 200).max() < 5 * np.sqrt(200)
    corners = np.corrcoef(clips.T)[np.triu_indices(4, 1)]
    assert np.abs(corners).max() < 0.1  # segments draw on their own


def test_segments_need_not_be_of_whole_frames():
    clips = drawn(Sampling(3), 10)
    assert [clips[:, i].min() for i in range(3)] == [0, 3, 6]
    assert [clips[:, i].max() for i in range(3)] == [3, 6, 9]
    assert (np.diff(clips) >= 0).all()


def test_dense_clips_start_anywhere_they_fit():
    clips = drawn(Sampling(4, "dense", stride=3), 15)
    assert (np.diff(clips) == 3).all()
    counts = np.bincount(clips[:, 0])
    assert len(counts) == 6  # 15 - (3 * 3 + 1) + 1
    assert np.abs(counts - 2000 / 6).max() < 5 * np.sqrt(2000 / 6)


def test_dense_clips_reach_from_the_first_frame_to_the_last():
    assert Sampling(4, "dense", 2, clips=3).evaluate(15).tolist() == [[0, 2, 4, 6], [4, 6, 8, 10], [8, 10, 12, 14]]
    assert Sampling(4, "dense", 2).evaluate(15).tolist() == [[4, 6, 8, 10]]
    assert Sampling(1, "dense").evaluate(7).tolist() == [[3]]


@pytest.mark.parametrize(
    ("how", "stride", "short_clips", "expected"),
    [
        ("uniform", 1, "loop", [0, 1, 2, 0, 1]),
        ("uniform", 1, "pad", [0, 1, 2, 2, 2]),
        ("dense", 2, "loop", [0, 2, 1, 0, 2]),
        ("dense", 2, "pad", [0, 2, 2, 2, 2]),
    ],
)
def test_a_short_video_begins_again_or_stands_still(how, stride, short_clips, expected):
    sampling = Sampling(5, how, stride, short_clips, clips=2)
    assert sampling.evaluate(3).tolist() == [expected] * 2
    assert sampling.train(3, np.random.default_rng(0)).tolist() == [expected]


def test_one_frame_is_enough():
    for how in ("uniform", "dense"):
        assert Sampling(4, how).evaluate(1).tolist() == [[0, 0, 0, 0]]


def test_a_target_rate_follows_the_time_stamps():
    assert timeline(np.arange(10) / 10, None).tolist() == list(range(10))
    assert timeline(np.arange(10) / 10, 10).tolist() == list(range(10))
    assert timeline(np.arange(10) / 10, 5).tolist() == [0, 2, 4, 6, 8]
    assert timeline(np.arange(4) / 10, 20).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    # frame 2 is shown for 0.6 s
    assert timeline(np.array([0.0, 0.1, 0.2, 0.8, 0.9]) + 7, 10).tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 3, 4]
    assert timeline(np.array([3.0]), 10).tolist() == [0]


def test_a_rate_of_thirty_keeps_every_frame_of_a_video_of_ntsc():
    assert timeline(np.arange(60) * 1001 / 30000, 30000 / 1001).tolist() == list(range(60))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"frames": 0}, ["data.frames", 0, 1]),
        ({"frames": 8, "clips": 0}, ["data.clips", 0]),
        ({"frames": 8, "stride": 2}, ["data.stride", 2, "data.sampling dense"]),
        ({"frames": 8, "fps": 0.0}, ["data.fps", 0]),
    ],
)
def test_wrong_settings_are_named(settings, names):
    with refuses(ConfigError, *names):
        Sampling(**settings)
