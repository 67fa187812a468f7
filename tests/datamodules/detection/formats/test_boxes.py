"""Clipping and validation of boxes, and warnings about a wrong coordinate form."""

import re

import numpy as np
import pytest
import torch
from torchvision.ops import box_convert

from datamodules.detection.formats.boxes import FORMS, clip, misread
from datamodules.detection.formats.raw import corners


def random_boxes(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Boxes xyxy within images of many sizes, and the heights and widths of those."""
    random = np.random.default_rng(0)
    shapes = random.integers(40, 900, (count, 2))
    ends = np.sort(random.random((count, 2, 2)), axis=1) * shapes[:, None, ::-1]
    return ends.reshape(count, 4), shapes


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_corners_as_in_torchvision(form):
    boxes, _ = random_boxes()
    given = box_convert(torch.tensor(boxes), "xyxy", form).numpy()
    np.testing.assert_allclose(corners(given, form), boxes, atol=1e-9)


def test_boxes_within_their_images_stay():
    boxes, shapes = random_boxes()
    clipped, wrong = clip(boxes, shapes)
    np.testing.assert_array_equal(clipped, boxes.astype(np.float32))
    assert wrong == {}


def test_boxes_are_cut_at_the_borders_of_their_own_image():
    shapes = np.array([[40, 60], [60, 40]])
    clipped, wrong = clip(np.array([[-5.0, -5, 100, 100]] * 2), shapes)
    assert (clipped.tolist(), wrong) == ([[0, 0, 60, 40], [0, 0, 40, 60]], {})


def test_of_several_reasons_the_first_is_named():
    boxes = np.array([[90.0, 90, 80, 80], [90, 90, 90, 90], [np.nan, 90, 80, 80], [90, 90, 95, 95]])
    assert clip(boxes, np.full((4, 2), 50))[1] == {
        0: "is reversed",
        1: "has no area",
        2: "is not four finite numbers",
        3: "lies outside the image",
    }


@pytest.mark.parametrize("meant", FORMS)
@pytest.mark.parametrize("read", FORMS)
def test_a_form_is_suspected_where_another_is_meant(meant, read):
    boxes, shapes = random_boxes()
    given = box_convert(torch.tensor(boxes), "xyxy", meant).numpy()
    found = misread(given, read, shapes)
    assert bool(found) == (meant != read)
    assert not found or re.findall("cxcywh|xywh|xyxy", found) == [read, meant]


def test_boxes_that_fit_in_no_form_or_are_few_raise_no_suspicion():
    boxes, shapes = random_boxes()
    assert misread(boxes - 2 * shapes[:, [1, 0, 1, 0]], "xywh", shapes) == ""
    assert misread(boxes[:9], "xywh", shapes[:9]) == ""
    assert misread(boxes[:0], "xywh", shapes[:0]) == ""


def test_a_few_boxes_beyond_their_images_raise_no_suspicion():
    boxes, shapes = random_boxes()
    boxes[:10, 2:] += 500
    assert misread(boxes, "xyxy", shapes) == ""
