"""Preprocessing inside graphs gives OpenCV's own bytes."""

import cv2
import numpy as np
import pytest
import torch

from datamodules.augment import center_square
from datamodules.letterbox import Letterbox as Reference
from modules.export.preprocess import CenterCrop, Letterbox, Preprocess
from modules.export.resize import top_left

SIZES = [(64, 64), (100, 151), (37, 53), (256, 128), (480, 213), (33, 260), (9, 700), (1, 5), (128, 192)]


def images():
    """Noise, and the same blurred, of each size."""
    random = np.random.default_rng(0)
    for size in SIZES:
        noise = random.integers(0, 256, (*size, 3), dtype=np.uint8)
        yield from (noise, cv2.GaussianBlur(noise, (0, 0), 3))


def pixels(result: torch.Tensor) -> np.ndarray:
    return result[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [32, 64, 97, 224])
def test_a_center_crop_is_equal_in_every_byte(size):
    crop, reference = CenterCrop(size), center_square((size, size))
    for image in images():
        found, geometry = crop(torch.from_numpy(image)[None])
        assert np.array_equal(pixels(found), reference(image)), image.shape
        assert tuple(geometry.size) == image.shape[:2]


@pytest.mark.parametrize("size", [(64, 64), (96, 224), (128, 40)])
def test_a_letterbox_differs_by_one_in_rare_bytes(size):
    box, reference = Letterbox(size), Reference(size)
    differing = []
    for image in images():
        found, geometry = box(torch.from_numpy(image)[None])
        sample = reference(image)
        apart = np.abs(pixels(found) - sample["image"])
        assert apart.max() <= 1 and tuple(geometry.inside.tolist()) == sample["inside"], image.shape
        differing.append(np.mean(apart > 0))
    assert np.mean(differing) < 1e-3


def test_without_a_size_the_image_stays_as_it_is():
    image = torch.randint(256, (1, 30, 41, 3), dtype=torch.uint8)
    found, geometry = Preprocess()(image)
    assert torch.equal(found, image.permute(0, 3, 1, 2).float()) and geometry.inside.tolist() == [30, 41]


def test_the_part_that_shows_the_image_is_cut_out():
    maps = torch.rand(2, 5, 32, 32)
    assert torch.equal(top_left(maps, torch.tensor([20.0, 31.0], dtype=torch.float64)), maps[:, :, :20, :31])
