"""Crops of images with objects, against OpenCV, pycocotools, torchvision and values computed by hand."""

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from torchvision.ops import box_iou

from datamodules.detection.crop_resize import (
    Shown,
    around,
    crop_and_resize,
    mirror,
    nearest,
    overlapping_part,
    overlaps,
    seen,
)
from datamodules.detection.mixing import mosaic, paste
from datamodules.detection.objects import Objects


def objects(boxes: list, rles: list | None = None) -> Objects:
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    zeros = np.zeros(len(boxes))
    return Objects(boxes, np.arange(len(boxes)), zeros.astype(bool), zeros.astype(np.float32), rles)


def blobs(count: int, height: int, width: int) -> np.ndarray:
    """Random ellipses, uint8 (N, H, W)."""
    random, masks = np.random.default_rng(0), np.zeros((count, height, width), np.uint8)
    for mask in masks:
        center = random.integers(0, width), random.integers(0, height)
        axes = random.integers(2, height // 3), random.integers(2, width // 3)
        cv2.ellipse(mask, [int(v) for v in center], [int(v) for v in axes], float(random.integers(180)), 0, 360, 1, -1)
    return masks


@pytest.mark.parametrize(("length", "target"), [(480, 240), (481, 127), (101, 333), (7, 5), (5, 5), (3, 1), (1, 4)])
def test_the_nearest_pixel_is_that_of_opencv(length, target):
    """Ties, as with 100 to 333, are left out: OpenCV takes either."""
    line = np.arange(length, dtype=np.float32)[:, None]
    expected = cv2.resize(line, (1, target), interpolation=cv2.INTER_NEAREST_EXACT)[:, 0]
    assert nearest(length, target).tolist() == expected.tolist()


@pytest.mark.parametrize("rows", [(0, 60, 60), (0, 60, 30), (11, 48, 90), (20, 21, 1)])
@pytest.mark.parametrize("columns", [(0, 90, 90), (5, 66, 20), (41, 90, 77)])
def test_masks_are_cut_and_resized_as_whole_ones_would_be(rows, columns):
    masks = blobs(6, 60, 90)
    rles = coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    chosen = np.array([0, 2, 5])
    found = seen(rles, chosen, rows, columns)
    for mask, expected in zip(found, masks[chosen], strict=True):
        part = np.ascontiguousarray(expected[rows[0] : rows[1], columns[0] : columns[1]])
        resized = cv2.resize(part, (columns[2], rows[2]), interpolation=cv2.INTER_NEAREST_EXACT)
        assert np.array_equal(mask, resized)


def test_boxes_around_masks_are_those_of_pycocotools():
    masks = blobs(20, 50, 70)
    masks = masks[masks.any((1, 2))]
    boxes = coco.toBbox(coco.encode(np.asfortranarray(masks.transpose(1, 2, 0))))
    boxes[:, 2:] += boxes[:, :2]
    assert around(masks).tolist() == boxes.tolist()
    assert around(masks[:0]).shape == (0, 4)


def test_boxes_move_with_the_part_that_is_shown():
    image, part = np.zeros((100, 200, 3), np.uint8), ((10, 60, 25), (20, 120, 200))
    shown = crop_and_resize(image, objects([[20, 30, 60, 50]]), *part, False, 0)
    assert shown.image.shape == (25, 200, 3)
    assert shown.boxes.tolist() == [[0, 10, 80, 20]]


def test_boxes_are_cut_at_the_borders_and_dropped_beyond():
    boxes = [[0, 0, 40, 40], [90, 0, 130, 100], [60, 60, 200, 100], [50, 50, 55, 55]]
    image = np.zeros((100, 200, 3), np.uint8)
    shown = crop_and_resize(image, objects(boxes), (50, 100, 50), (50, 100, 50), False, 0)
    assert shown.labels.tolist() == [1, 2, 3]
    assert shown.boxes.tolist() == [[40, 0, 50, 50], [10, 10, 50, 50], [0, 0, 5, 5]]
    shown = crop_and_resize(
        image, objects(boxes), (50, 100, 50), (50, 100, 50), False, 0.2
    )  # 12.5 %, 29 % and all of them
    assert shown.labels.tolist() == [2, 3]


def test_no_box_lies_outside_for_being_rounded():
    for width in range(300, 400):
        image = np.zeros((7, width, 3), np.uint8)
        shown = crop_and_resize(image, objects([[0, 0, width, 7]]), (0, 7, 7), (0, width, 320), False, 0)
        assert shown.boxes[0, 2] <= 320


def test_an_object_whose_mask_is_not_in_the_part_is_dropped_though_its_box_is():
    mask = np.zeros((40, 40, 1), np.uint8, order="F")
    mask[:5, :5] = 1
    rles = coco.encode(mask)
    image, box = np.zeros((40, 40, 3), np.uint8), objects([[0, 0, 40, 40]], rles)
    assert len(crop_and_resize(image, box, (20, 40, 20), (20, 40, 20), False, 0).boxes) == 1
    assert len(crop_and_resize(image, box, (20, 40, 20), (20, 40, 20), True, 0).boxes) == 0
    assert crop_and_resize(image, box, (0, 40, 40), (0, 40, 40), True, 0).boxes.tolist() == [[0, 0, 5, 5]]


def test_mirroring_twice_is_nothing():
    masks = blobs(3, 20, 30)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    shown = Shown(image, around(masks), np.arange(3), masks)
    once = mirror(shown)
    assert np.array_equal(once.image, image[:, ::-1])
    assert np.array_equal(once.boxes, around(once.masks))
    assert all(np.array_equal(a, b) for a, b in zip(mirror(once), shown, strict=True))


def test_overlaps_are_those_of_torchvision():
    random = np.random.default_rng(0)
    boxes = np.sort(random.random((2, 30, 2, 2)) * 50, axis=2).reshape(2, 30, 4)
    expected = box_iou(*(torch.from_numpy(b) for b in boxes)).numpy()
    assert np.allclose(overlaps(*boxes), expected, atol=1e-12)


def test_parts_are_as_ssd_asks():
    """Each crop lies in the image, has an allowed aspect ratio and holds the center of a box, or is the whole image."""
    random, sizes, best = np.random.default_rng(0), [], []
    boxes = np.array([[10, 10, 60, 70], [100, 20, 190, 90]], np.float32)
    for _ in range(300):
        left, top, right, bottom = overlapping_part((100, 200), boxes, random)
        assert 0 <= left < right <= 200
        assert 0 <= top < bottom <= 100
        sizes.append((right - left, bottom - top))
        if sizes[-1] != (200, 100):
            assert 0.5 <= sizes[-1][0] / sizes[-1][1] <= 2
            assert right - left >= 60 and bottom - top >= 30
            centers = (boxes[:, :2] + boxes[:, 2:]) / 2
            assert ((centers >= [left, top]) & (centers <= [right, bottom])).all(1).any()
            best.append(overlaps(np.array([[left, top, right, bottom]]), boxes).max())
    whole = sizes.count((200, 100))
    assert 300 / 7 * 0.6 < whole < 300 / 2
    assert max(best) > 0.7


def test_an_image_without_objects_is_not_cropped():
    random = np.random.default_rng(0)
    assert {tuple(overlapping_part((10, 20), np.zeros((0, 4)), random)) for _ in range(9)} == {(0, 0, 20, 10)}


def flat(value: int, size: tuple[int, int], box: tuple[int, int, int, int]) -> Shown:
    """One object on an image of one value."""
    mask = np.zeros((1, *size), np.uint8)
    mask[0, box[1] : box[3], box[0] : box[2]] = 1
    image = np.full((*size, 3), value, np.uint8)
    return Shown(image, np.array([box], np.float32), np.array([value]), mask)


def test_the_four_images_of_a_mosaic_meet_in_a_point():
    sizes = []

    def tile(i: int, room: tuple[int, int]) -> Shown:
        sizes.append(room)
        return flat(i + 1, (min(room[0], 30), min(room[1], 30)), (2, 3, 6, 8))

    shown = mosaic((100, 80), tile, np.random.default_rng(0))
    (y, x), (last_y, last_x) = sizes[0], sizes[3]
    assert (y + last_y, x + last_x) == (100, 80)
    assert [shown.image[r, c, 0] for r, c in ((y - 1, x - 1), (y - 1, x), (y, x - 1), (y, x))] == [1, 2, 3, 4]
    assert shown.labels.tolist() == [1, 2, 3, 4]
    for box, label, mask in zip(shown.boxes.astype(int), shown.labels, shown.masks, strict=True):
        assert (box[2] - box[0], box[3] - box[1]) == (4, 5)
        assert (shown.image[box[1] : box[3], box[0] : box[2]] == label).all()
        assert np.array_equal(around(mask[None])[0], box)


def test_pasting_changes_the_chosen_pixels_alone():
    onto, other = flat(1, (40, 50), (10, 10, 30, 30)), flat(2, (60, 45), (20, 20, 60, 60))
    result = paste(onto, other, np.array([True]), 0.0)
    assert result.labels.tolist() == [1, 2]
    assert result.boxes.tolist() == [[10, 10, 30, 30], [20, 20, 45, 40]]  # cut off at the border
    assert np.array_equal(result.image[..., 0] == 2, result.masks[1] > 0)
    assert result.masks[0].sum() == 20 * 20 - 10 * 10
    assert onto.image.max() == 1
    untouched = paste(onto, other, np.array([False]), 0.0)
    assert np.array_equal(untouched.image, onto.image)
    assert untouched.boxes.tolist() == onto.boxes.tolist()


@pytest.mark.parametrize(("visible", "labels"), [(0.0, [1, 2]), (0.74, [1, 2]), (0.76, [2]), (0.81, [])])
def test_pasting_drops_what_it_hides_and_what_is_cut_off(visible, labels):
    """Three quarters of the one object stay visible, and four fifths of the other lie in the image."""
    onto, other = flat(1, (40, 40), (10, 10, 30, 30)), flat(2, (40, 50), (20, 20, 45, 30))
    result = paste(onto, other, np.array([True]), visible)
    assert result.labels.tolist() == labels
    assert len(result.boxes) == len(result.masks) == len(labels)
