"""Segments from the answers of mask queries, by hand."""

import pytest
import torch
from torch import Tensor

from modules.contracts import ConfigError
from modules.decoding.panoptic import Segments, SegmentSelection, panoptic
from tests.helpers.errors import refuses

THINGS = torch.tensor([True, True, False])
SIDE = 8
WHOLE = slice(0, SIDE)


def answers(*queries: tuple[int, float, slice]) -> tuple[Tensor, Tensor]:
    """Class and mask logits of queries: a class (3 is none), its probability, and the columns of its mask."""
    classes, masks = torch.zeros(len(queries), 4), torch.full((len(queries), SIDE, SIDE), -5.0)
    for i, (label, probability, columns) in enumerate(queries):
        rest = (1 - probability) / 3
        classes[i] = torch.full((4,), rest).index_fill(0, torch.tensor(label), probability).log()
        masks[i, :, columns] = 5.0
    return classes, masks


def decoded(*queries: tuple[int, float, slice], inside=(SIDE, SIDE), size=(SIDE, SIDE), **selection: float) -> Segments:
    chosen = SegmentSelection(**selection)
    return panoptic(*answers(*queries), THINGS, chosen, (SIDE, SIDE), inside, size)


def columns(found: Segments) -> list[int]:
    assert (found.segments == found.segments[:1]).all()
    return found.segments[0].tolist()


def test_each_pixel_belongs_to_the_surest_query():
    found = decoded((0, 0.9, slice(0, 4)), (2, 0.8, WHOLE), visible_share=0.4)
    assert columns(found) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert found.labels.tolist() == [0, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    assert found.segments.dtype == torch.int32


def test_things_stay_apart_and_stuff_of_a_class_is_one():
    things = decoded((0, 0.9, slice(0, 3)), (0, 0.8, slice(3, 8)))
    stuff = decoded((2, 0.7, slice(0, 3)), (0, 0.6, slice(6, 8)), (2, 0.9, slice(3, 6)))
    assert (columns(things), things.labels.tolist()) == ([1, 1, 1, 2, 2, 2, 2, 2], [0, 0])
    assert (columns(stuff), stuff.labels.tolist()) == ([1, 1, 1, 1, 1, 1, 2, 2], [2, 0])
    assert stuff.scores.tolist() == pytest.approx([0.9, 0.6])


def test_no_object_unsure_and_mostly_covered_queries_are_left_out_as_void():
    found = decoded((3, 0.9, slice(0, 2)), (0, 0.45, slice(2, 4)), (1, 0.9, slice(4, 8)))
    assert (columns(found), found.labels.tolist()) == ([0, 0, 0, 0, 1, 1, 1, 1], [1])
    covered = [(0, 0.9, slice(0, 5)), (1, 0.8, WHOLE)]
    assert columns(decoded(*covered, visible_share=0.5)) == [1, 1, 1, 1, 1, 0, 0, 0]
    assert columns(decoded(*covered, visible_share=0.3)) == [1, 1, 1, 1, 1, 2, 2, 2]


def test_small_segments_are_left_out():
    queries = [(0, 0.9, slice(0, 2)), (1, 0.8, slice(2, 8))]
    assert columns(decoded(*queries, min_area=16)) == [1, 1, 2, 2, 2, 2, 2, 2]
    assert columns(decoded(*queries, min_area=17)) == [0, 0, 1, 1, 1, 1, 1, 1]


def test_segments_are_in_pixels_of_the_original_without_the_padding():
    found = decoded((0, 0.9, slice(0, 2)), (2, 0.9, slice(2, 8)), inside=(6, 4), size=(12, 8))
    assert columns(found) == [1, 1, 1, 1, 2, 2, 2, 2]
    assert found.segments.shape == (12, 8)


def test_nothing_found_is_void():
    found = decoded((3, 0.9, WHOLE))
    assert not found.segments.any()
    assert (len(found.labels), len(found.scores)) == (0, 0)


@pytest.mark.parametrize(("name", "value"), [("score_threshold", 1.5), ("visible_share", -0.1), ("min_area", 0)])
def test_values_out_of_range_are_refused(name, value):
    with refuses(ConfigError, f"model.selection.{name}"):
        SegmentSelection(**{name: value})
