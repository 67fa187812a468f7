"""Fields of COCO's json as other tools write them."""

import pytest

from datamodules import coco_fields as fields

SQUARE = [1, 2, 3, 2, 3, 4]


@pytest.mark.parametrize(("value", "meant"), [("12", 12), (" 7 ", 7), (3.0, 3), (3.5, 3.5), ("a7", "a7"), (None, None)])
def test_ids_as_text_are_numbers(value, meant):
    assert fields.integer(value) == meant


@pytest.mark.parametrize(
    ("value", "meant"),
    [(0, False), (1, True), ("0", False), ("1", True), ("false", False), ("True", True), (None, False)],
)
def test_flags_as_text_mean_what_they_say(value, meant):
    assert fields.flag(value) is meant


@pytest.mark.parametrize(
    ("value", "flat"),
    [([1, 2, 3, 4], False), (["1", "2", "3", "4"], False), ([], True), (None, True), ([1, 2, 0, 4], True),
     ([0, 0, 0, 0], True), ([1, 2, float("nan"), 4], False), ([1, 2, 3], False), (["a", 2, 3, 4], False),
     ([20, 20, -5, 5], False)],
)  # fmt: skip
def test_a_box_without_area_leaves_the_object_to_its_outline_and_a_broken_one_is_no_such_box(value, flat):
    assert fields.is_flat(value) is flat


@pytest.mark.parametrize(
    "value",
    [[SQUARE], SQUARE, [[1, 2], [3, 2], [3, 4]], [[[1, 2], [3, 2], [3, 4]]]],
)
def test_polygons_are_lists_of_coordinates(value):
    assert fields.outline(value) == [SQUARE]


def test_run_lengths_get_a_size_of_numbers():
    assert fields.outline({"size": ["4", "6"], "counts": "abc"}) == {"size": [4, 6], "counts": "abc"}
    assert fields.outline([]) == []
    assert fields.outline(None) is None
