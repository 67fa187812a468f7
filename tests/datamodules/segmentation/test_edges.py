"""Masks with smoothed edges are refused with counts; masks of classes, thin or small ones too, are not."""

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules import DetectionFolder, SegmentationFolder
from datamodules.segmentation.edges import check_edges
from modules.contracts import DataError
from tests.helpers.errors import refuses


def disc(value: int, shift: int = 0, smooth: bool = True) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    cv2.circle(mask, (30 + shift, 32), 15, value, -1, cv2.LINE_AA if smooth else cv2.LINE_8)
    return mask


@pytest.mark.parametrize("values", [(255,), (128,), (85, 170, 255)])
def test_smoothed_discs_are_refused_with_the_values_that_are_meant(values):
    masks = [np.maximum(disc(value, i), 0) for i, value in enumerate(values * 2)]
    with refuses(DataError, "masks", [0, *values]):
        check_edges(masks, "masks")


def test_a_mask_that_was_resized_is_refused():
    mask = cv2.resize(disc(255, smooth=False), (40, 40), interpolation=cv2.INTER_LINEAR)
    with refuses(DataError, "masks", [0, 255]):
        check_edges([mask], "masks")


def test_masks_of_classes_pass():
    random = np.random.default_rng(0)
    blocks = random.integers(0, 12, (8, 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    thin = np.zeros((64, 64), np.uint8)
    thin[:, 32:] = 2
    thin[:, 31] = 1  # an outline of one pixel between two classes
    trimap = cv2.dilate(disc(1, smooth=False), np.ones((3, 3))) * 3
    trimap[disc(1, smooth=False) > 0] = 1
    check_edges([blocks, thin, trimap], "masks")
    check_edges([disc(255, smooth=False)], "masks")
    check_edges([(np.arange(64 * 64).reshape(64, 64) // 8 % 40).astype(np.uint16) * 1000], "masks")


@pytest.mark.parametrize("kind", ["semantic", "instances"])
def test_data_modules_refuse_them(tmp_path, kind):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        Image.fromarray(np.full((64, 64, 3), i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
        Image.fromarray(disc(255, i)).save(tmp_path / "masks" / f"{i}.png")
    with refuses(DataError, tmp_path / "masks", [0, 255]):
        SegmentationFolder(str(tmp_path)) if kind == "semantic" else DetectionFolder(str(tmp_path), format="png")
