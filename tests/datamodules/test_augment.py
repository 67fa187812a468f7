"""Augmentation: a function of the image and the key alone."""

import hashlib
import multiprocessing
import pickle

import albumentations as A
import cv2
import numpy as np
import pytest

from datamodules.augment import Augment
from modules.contracts import ConfigError
from tests.helpers.errors import refuses


def make_image(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def custom() -> list[A.BasicTransform]:
    """A custom list of transforms, as in a YAML."""
    return [A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)], p=0.7), A.GaussNoise(p=0.7), A.CoarseDropout(p=0.7)]


RECIPES = {name: lambda name=name: name for name in ("flip", "simclr", "randaugment", "trivialaugment", "augmix")}
RECIPES["list"] = custom


def digests(recipe: str) -> list[str]:
    augment = Augment(32, (0.2, 1.0), RECIPES[recipe]())
    return [hashlib.sha256(augment(make_image(), 0, 1, i, 0)).hexdigest() for i in range(8)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_key_draws_the_same_whatever_was_drawn_before(recipe):
    augment, image = Augment(32, (0.2, 1.0), RECIPES[recipe]()), make_image()
    keys = [(0, 1, i, v) for i in range(8) for v in range(2)]
    forwards = [augment(image, *key) for key in keys]
    backward = [augment(image, *key) for key in reversed(keys)][::-1]
    np.testing.assert_array_equal(forwards, backward)


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_same_key_draws_the_same_in_another_instance_and_after_pickling(recipe):
    augment, image = Augment(32, (0.2, 1.0), RECIPES[recipe]()), make_image()
    augment(image, 3)
    for other in (Augment(32, (0.2, 1.0), RECIPES[recipe]()), pickle.loads(pickle.dumps(augment))):
        for key in range(8):
            np.testing.assert_array_equal(augment(image, key), other(image, key))


def test_two_instances_of_the_same_list_do_not_disturb_each_other():
    transforms, image = custom(), make_image()
    one, other = Augment(32, None, transforms), Augment(32, None, transforms)
    for key in range(8):
        expected = Augment(32, None, custom())(image, key)
        np.testing.assert_array_equal(one(image, key), expected)
        other(image, key + 1)


@pytest.mark.integration
def test_the_same_key_draws_the_same_in_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.map(digests, RECIPES)
    assert there == [digests(recipe) for recipe in RECIPES]


@pytest.mark.parametrize("place", range(4), ids=["seed", "epoch", "index", "view"])
def test_every_part_of_the_key_changes_the_draw(place):
    augment, image = Augment(32, (0.2, 1.0), "simclr"), make_image()
    keys = [[5, 5, 5, 5] for _ in range(10)]
    for value, key in enumerate(keys):
        key[place] = value
    assert len({augment(image, *key).tobytes() for key in keys}) == 10


def test_flip_mirrors_half_of_the_images():
    augment, image = Augment(32, None, "flip"), make_image(32, 32)
    results = [augment(image, i) for i in range(1000)]
    mirrored = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    assert mirrored + sum(np.array_equal(result, image) for result in results) == 1000
    assert abs(mirrored - 500) < 50  # three standard deviations


def test_none_is_the_largest_centered_square():
    image = cv2.resize(make_image(4, 6), (60, 40), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(Augment(40, None, "none")(image, 0), image[:, 10:50])
    np.testing.assert_array_equal(
        Augment(40, None, "none")(image.transpose(1, 0, 2), 0), image.transpose(1, 0, 2)[10:50]
    )


def test_the_crop_covers_the_asked_share_of_the_area():
    columns = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (200, 1, 3))
    shares = [np.ptp(Augment(32, (0.25, 0.25), "none")(columns, i)[..., 0]) / 200 for i in range(50)]
    rows = [np.ptp(Augment(32, (0.25, 0.25), "none")(columns.transpose(1, 0, 2), i)[..., 0]) / 200 for i in range(50)]
    np.testing.assert_allclose(np.multiply(shares, rows), 0.25, atol=0.04)


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("source", [(32, 32), (17, 40), (200, 100), (96, 96), (1, 1)])
def test_simclr_gives_images_of_the_asked_size_from_any(size, source):
    result = Augment(size, (0.2, 1.0), "simclr")(make_image(*source), 0)
    assert result.shape == (size, size, 3)
    assert result.dtype == np.uint8


def test_simclr_grays_a_fifth_of_the_images():
    augment, image = Augment(32, None, "simclr"), make_image(32, 32)
    gray = sum(np.ptp(augment(image, i).astype(int), axis=2).max() == 0 for i in range(400))
    assert abs(gray - 80) < 24  # three standard deviations


@pytest.mark.parametrize(("size", "blurred"), [(64, False), (96, True)])
def test_simclr_blurs_above_64_pixels_only(size, blurred):
    names = [type(t).__name__ for t in Augment(size, None, "simclr").transforms.transforms]
    assert ("GaussianBlur" in names) == blurred


def test_a_list_of_transforms_follows_the_crop():
    image = make_image(32, 32)
    augment = Augment(32, None, [A.VerticalFlip(p=1), A.InvertImg(p=1)])
    np.testing.assert_array_equal(augment(image, 0), 255 - image[::-1])


def test_the_image_itself_is_left_alone():
    image = make_image(32, 32)
    before = image.copy()
    Augment(32, None, [A.InvertImg(p=1)])(image, 0)
    np.testing.assert_array_equal(image, before)


def test_transforms_that_end_in_another_size_are_refused_when_they_are_listed():
    with refuses(ConfigError, "data.augment", "(8, 8, 3)", "32 x 32"):
        Augment(32, None, [A.CenterCrop(8, 8)])
