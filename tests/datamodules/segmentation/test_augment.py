"""Augmented images and maps: aligned, integral, and a function of the key alone."""

import pickle

import albumentations as A
import cv2
import numpy as np
import pytest

from datamodules.segmentation.augment import MaskAugment, pixel_of_a_class, span
from modules.contracts import ConfigError
from tests.helpers.errors import refuses

SIZE = (48, 64)


def pair(height: int = 180, width: int = 220) -> tuple[np.ndarray, np.ndarray]:
    """Large blocks of four classes; the image is 60 times as bright as the class."""
    mask = np.random.default_rng(0).integers(0, 4, (-(-height // 30), -(-width // 30)))
    mask = mask.repeat(30, 0).repeat(30, 1)[:height, :width].astype(np.uint8)
    return (mask * 60)[..., None].repeat(3, 2), mask


def geometric() -> list[A.BasicTransform]:
    """Geometric transforms that rotate, deform and crop, as in a YAML."""
    bent = [A.ElasticTransform(p=1), A.GridDistortion(p=1), A.Perspective(p=1)]
    return [A.Rotate(45, p=0.7), A.Affine(scale=(0.8, 1.2), shear=10, p=0.5), A.OneOf(bent, p=0.5), A.VerticalFlip()]


RECIPES = {"none": lambda: "none", "flip": lambda: "flip", "list": geometric}
COLORFUL = {"simclr": lambda: "simclr", "strong": lambda: "strong"}


@pytest.mark.parametrize("balanced", [0.0, 1.0])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_map_stays_on_its_image(recipe, balanced):
    augment, (image, mask) = MaskAugment(SIZE, (0.5, 2.0), balanced, RECIPES[recipe]()), pair()
    apart, compared = 0, 0
    for key in range(60):
        result = augment(image, mask, key)
        edge = cv2.dilate(result["mask"], np.ones((5, 5))) != cv2.erode(result["mask"], np.ones((5, 5)))
        inside = ~edge & (result["mask"] != 255)  # pixels that are not blurred
        apart += (np.rint(result["image"][..., 0] / 60) != result["mask"])[inside].sum()
        compared += inside.sum()
    assert compared > 60 * 300
    assert apart < 0.001 * compared


@pytest.mark.parametrize("recipe", COLORFUL)
def test_colors_change_images_and_never_maps(recipe):
    image, mask = pair()
    plain, colorful = (MaskAugment(SIZE, (1.0, 1.0), 0.0, r) for r in ("none", COLORFUL[recipe]()))
    changed = 0
    for key in range(20):
        expected, result = plain(image, mask, key), colorful(image, mask, key)
        same = [np.array_equal(result["mask"], e) for e in (expected["mask"], mirrored(expected["mask"]))]
        assert any(same)
        changed += not np.array_equal(result["image"], expected["image"])
    assert changed > 15


def mirrored(padded: np.ndarray) -> np.ndarray:
    return padded[:, ::-1]


@pytest.mark.parametrize("recipe", [*RECIPES, *COLORFUL])
def test_maps_hold_the_values_of_the_map_and_void(recipe):
    image, mask = pair()
    mask = np.array([3, 90, 180, 255], np.uint8)[mask]
    augment = MaskAugment(SIZE, (0.5, 2.0), 0.3, (RECIPES | COLORFUL)[recipe]())
    for key in range(30):
        result = augment(image, mask, key)["mask"]
        assert (result.dtype, result.shape) == (np.uint8, SIZE)
        assert set(np.unique(result)) <= {3, 90, 180, 255}


def test_what_a_transform_brings_in_from_outside_is_void():
    ones = np.ones(SIZE, np.uint8)
    augment = MaskAugment(SIZE, (1.0, 1.0), 0.0, [A.Rotate((45, 45), p=1), A.OneOf([A.Affine(shear=30, p=1)], p=1)])
    result = augment(np.full((*SIZE, 3), 200, np.uint8), ones, 0)
    assert set(np.unique(result["mask"])) == {1, 255}
    assert (result["image"][result["mask"] == 255] == 0).mean() > 0.9


def test_a_transform_that_mixes_class_indices_is_refused():
    with refuses(ConfigError, "data.augment", "Rotate", "mask_interpolation"):
        MaskAugment(SIZE, (1.0, 1.0), 0.0, [A.OneOf([A.Rotate(mask_interpolation=cv2.INTER_LINEAR)])])


def test_transforms_that_change_the_size_or_the_type_are_refused():
    with refuses(ConfigError, "data.augment", "(8, 8, 3)", "48 x 64"):
        MaskAugment(SIZE, (1.0, 1.0), 0.0, [A.CenterCrop(8, 8)])
    with refuses(ConfigError, "data.augment", "float32", "uint8"):
        MaskAugment(SIZE, (1.0, 1.0), 0.0, [A.ToFloat()])


@pytest.mark.parametrize("recipe", [*RECIPES, *COLORFUL])
def test_the_same_key_draws_the_same_whatever_was_drawn_before(recipe):
    augment, (image, mask) = MaskAugment(SIZE, (0.5, 2.0), 0.5, (RECIPES | COLORFUL)[recipe]()), pair()
    copy = pickle.loads(pickle.dumps(augment))
    forwards = [augment(image, mask, key) for key in range(8)]
    backward = [copy(image, mask, key) for key in reversed(range(8))][::-1]
    for one, other in zip(forwards, backward, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["mask"], other["mask"])
    assert len({result["image"].tobytes() for result in forwards}) == 8


def test_scales_are_relative_to_the_whole_image_fitted_in():
    image, mask = np.full((80, 100, 3), 9, np.uint8), np.zeros((80, 100), np.uint8)
    shown = [(MaskAugment((40, 60), (0.5, 1.0), 0.0, "none")(image, mask, k)["mask"] == 0).sum() for k in range(200)]
    assert min(shown) >= 20 * 25 and max(shown) <= 40 * 50
    scales = np.sqrt(np.array(shown) / (40 * 50))
    assert abs(scales.mean() - 0.75) < 0.04
    assert scales.min() < 0.53 and scales.max() > 0.97


def test_twice_the_scale_shows_half_of_each_side():
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8), (200, 200))
    image = np.stack([ramp, ramp.T, ramp], -1)
    augment = MaskAugment((50, 50), (2.0, 2.0), 0.0, "none")
    results = [augment(image, np.zeros((200, 200), np.uint8), key) for key in range(50)]
    corners = np.array([result["image"].min((0, 1)) for result in results])
    spans = np.array([np.ptp(result["image"], axis=(0, 1)) for result in results])
    np.testing.assert_allclose(spans, 99, atol=3)
    assert corners[:, :2].min() < 8 and corners[:, :2].max() > 92  # everywhere, up to the borders
    assert all((result["mask"] == 0).all() for result in results)


def test_balanced_crops_show_rare_classes_as_often_as_common_ones():
    mask = np.zeros((200, 200), np.uint8)
    mask[3:6, 190:193] = 1
    image = np.zeros((200, 200, 3), np.uint8)
    often = {
        balanced: np.mean(
            [(MaskAugment((20, 20), (10, 10), balanced, "none")(image, mask, k)["mask"] == 1).any() for k in range(300)]
        )
        for balanced in (0.0, 0.5, 1.0)
    }
    assert often[0.0] < 0.05
    assert abs(often[0.5] - 0.25) < 0.08
    assert abs(often[1.0] - 0.5) < 0.1


def test_the_pixels_of_a_class_have_the_same_chance():
    mask = np.full((4, 5), 255, np.uint8)
    mask[1, 2:4], mask[3, 0] = 7, 9
    draws = [(a, b) for a in np.arange(0, 1, 0.25) for b in np.arange(0, 1, 0.25)]
    assert [pixel_of_a_class(mask, *draw) for draw in draws] == [(1, 2)] * 2 + [(1, 3)] * 2 + [(1, 2)] * 2 + [
        (1, 3)
    ] * 2 + [(3, 0)] * 8
    assert pixel_of_a_class(np.full((4, 5), 255, np.uint8), 0.5, 0.5) is None


def test_a_map_of_void_alone_is_cropped_anywhere():
    image, void = np.zeros((90, 110, 3), np.uint8), np.full((90, 110), 255, np.uint8)
    assert (MaskAugment(SIZE, (2.0, 2.0), 1.0, "none")(image, void, 0)["mask"] == 255).all()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((100, 50, 1.0, 0.0, None), (0, 50, 50)),
        ((100, 50, 1.0, 0.999, None), (50, 100, 50)),
        ((100, 50, 2.0, 0.0, 50), (38, 63, 50)),
        ((100, 50, 2.0, 0.0, 1), (0, 25, 50)),
        ((100, 50, 2.0, 0.0, 99), (75, 100, 50)),
        ((100, 50, 0.25, 0.7, 3), (0, 100, 25)),
        ((100, 50, 1000.0, 0.0, None), (0, 1, 50)),
        ((1, 50, 0.01, 0.0, None), (0, 1, 1)),
    ],
)
def test_the_part_of_a_side_that_a_crop_shows(arguments, expected):
    assert span(*arguments) == expected
