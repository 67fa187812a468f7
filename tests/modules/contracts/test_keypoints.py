"""Layout of keypoints: left and right pairs by name, and refused names."""

import pytest

from modules.contracts import ConfigError
from modules.contracts.keypoints import layout, left_right
from tests.helpers.errors import refuses


def test_names_that_differ_in_left_and_right_alone_are_pairs():
    names = ["nose", "left_eye", "right_eye", "LeftKnee", "RightKnee", "left_tail"]
    assert left_right(names) == [("left_eye", "right_eye"), ("LeftKnee", "RightKnee")]


def test_flips_put_right_in_the_place_of_left():
    found = layout(["left_a", "b", "right_a"], [["left_a", "b"]])
    assert found.flipped.tolist() == [2, 1, 0] and found.edges == [(0, 1)]
    assert layout(["a", "b", "c"], (), [["a", "c"]]).flipped.tolist() == [2, 1, 0]
    assert layout(["left_a", "right_a"], (), []).flipped.tolist() == [0, 1]  # as the user wants


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (([],), ["keypoints"]),
        ((["a", "a"],), ["keypoints", "'a'"]),
        ((["a", "b"], [["a", "c"]]), ["skeleton", "'c'"]),
        ((["a", "b"], [["a"]]), ["skeleton"]),
        ((["a", "b"], (), [["a", "a"]]), ["flip_pairs"]),
        ((["a", "b", "c"], (), [["a", "b"], ["b", "c"]]), ["flip_pairs"]),
    ],
)
def test_names_that_cannot_be_are_refused(parts, named):
    with refuses(ConfigError, *named):
        layout(*parts)
