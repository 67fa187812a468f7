"""Random parameters for on-device augmentation: albumentations' distributions, a function of the key alone."""

from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp, kstest

from datamodules.augment import RECIPES, Chances
from datamodules.augmentation_parameters import (
    COUNT,
    SPLITMIX_INCREMENT,
    AugmentationParameters,
    Kind,
    _mixed,
    draw,
    uniforms,
)
from modules.augmentation.views import NEUTRAL, WIDTHS, ViewParameters

N = 4000


def draws(
    chances: Chances = RECIPES["strong"], size: int = 96, crop=(0.2, 1.0), shape=(64, 64), n: int = N
) -> ViewParameters:
    """Random parameters of `n` views."""
    keys = np.stack([np.zeros(n, int), np.ones(n, int), np.arange(n), np.zeros(n, int)], axis=1)
    rows = draw(uniforms(keys, COUNT), shape, Kind(1, size, crop, chances))
    return ViewParameters(*np.split(rows.astype(np.float64), np.cumsum(WIDTHS)[:-1], axis=1))


def theirs(transform: A.BasicTransform, n: int = N, **data: Any) -> list[dict[str, Any]]:
    """Random parameters that albumentations draws, `n` times."""
    transform.set_random_seed(0)
    return [transform.get_params() | transform.get_params_dependent_on_data(data, {}) for _ in range(n)]


def same(one: NDArray, other: NDArray) -> None:
    assert ks_2samp(one, other).pvalue > 0.01


# Numbers -------------------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_splitmix64():
    words = _mixed(np.full(5, 1234567, np.uint64) + np.arange(1, 6, dtype=np.uint64) * SPLITMIX_INCREMENT)
    # as published with the reference implementation's seed 1234567
    known = "6457827717110365317 3203168211198807973 9817491932198370423 4593380528125082431 16408922859458223821"
    assert words.tolist() == [int(word) for word in known.split()]


@pytest.mark.parametrize("part", range(4), ids=["seed", "epoch", "index", "view"])
def test_numbers_of_neighboring_keys_are_uniform_and_unrelated(part):
    keys = np.zeros((N, 4), int)
    keys[:, part] = np.arange(N)
    numbers = uniforms(keys, 6)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert all(kstest(column, "uniform").pvalue > 0.001 for column in numbers.T)
    related = np.corrcoef(np.concatenate([numbers[1:].T, numbers[:-1].T]))
    assert np.abs(related - np.eye(12)).max() < 4.5 / np.sqrt(N)


def test_parts_of_the_key_do_not_change_places():
    keys = np.array([(a, b, c, d) for a in range(6) for b in range(6) for c in range(6) for d in range(6)])
    assert len(np.unique(uniforms(keys, 1))) == len(keys)


# Distributions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [(0.2, 1.0), (0.05, 0.4), (0.9, 1.0)])
@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (100, 60)])
def test_crops_are_distributed_as_those_of_albumentations(crop, shape):
    ours = draws(crop=crop, shape=shape).box
    params = theirs(A.RandomResizedCrop((32, 32), scale=crop), shape=(*shape, 3))
    other = np.array([one["crop_coords"] for one in params])
    for corners in (ours, other):
        assert (corners == np.rint(corners)).all()
        assert corners.min() >= 0
        assert (corners[:, 2:] <= (shape[1], shape[0])).all()
    for measure in (
        lambda x: (x[:, 2] - x[:, 0]) * (x[:, 3] - x[:, 1]),
        lambda x: (x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1]),
        *[lambda x, i=i: x[:, i] for i in range(4)],
    ):
        same(measure(ours), measure(other))


@pytest.mark.parametrize("shape", [(20, 200), (200, 20), (64, 64), (30, 41), (41, 30)])
def test_where_no_crop_fits_the_fallback_is_that_of_albumentations(shape):
    crop = A.RandomResizedCrop((32, 32), scale=(1.0, 1.0))
    boxes = draws(crop=(1.0, 1.0), shape=shape, n=400).box
    allowed = {one["crop_coords"] for one in theirs(crop, 400, shape=(*shape, 3))}
    if shape in ((20, 200), (200, 20)):
        assert len(allowed) == 1
        assert {tuple(box) for box in boxes} == allowed
    else:
        assert {tuple(box) for box in boxes} & allowed


def test_without_a_crop_the_largest_centered_square_is_taken():
    assert np.unique(draws(crop=None, shape=(40, 60), n=9).box, axis=0).tolist() == [[10, 0, 50, 40]]
    assert np.unique(draws(crop=None, shape=(61, 40), n=9).box, axis=0).tolist() == [[0, 10, 40, 50]]


@pytest.mark.parametrize("recipe", ["simclr", "strong"])
def test_colors_are_distributed_as_those_of_albumentations(recipe):
    chances = RECIPES[recipe]
    (jitter,) = (t for t in chances.transforms(96) if isinstance(t, A.ColorJitter))
    params, ours = theirs(jitter), draws(chances)
    jittered = (ours.factors != NEUTRAL).any(1)
    assert abs(jittered.mean() - 0.8) < 4 * np.sqrt(0.16 / N)
    for i, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        same(ours.factors[jittered, i], np.array([one[name] for one in params]))
    first, second = (np.unique(x, axis=0, return_counts=True) for x in (ours.order, [one["order"] for one in params]))
    assert first[0].tolist() == second[0].tolist()
    for counts in (first[1], second[1]):
        assert len(counts) == 24
        assert ((counts - N / 24) ** 2 / (N / 24)).sum() < 23 + 4 * np.sqrt(2 * 23)  # chi-squared


@pytest.mark.parametrize(("recipe", "gray"), [("none", 0.0), ("flip", 0.0), ("simclr", 0.2), ("strong", 0.3)])
def test_shares_are_those_of_the_recipe(recipe, gray):
    ours = draws(RECIPES[recipe])
    flip, blur = 0.0 if recipe == "none" else 0.5, 0.5 if gray else 0.0
    for found, share in ((ours.flip, flip), (ours.gray, gray), (ours.sigma > 0, blur)):
        assert abs(found.mean() - share) <= 4 * np.sqrt(share * (1 - share) / N)
    if not gray:
        assert (ours.factors == NEUTRAL).all()


def test_the_blur_is_as_wide_as_that_of_albumentations_and_above_64_pixels_only():
    sigma = draws(size=96).sigma[:, 0]
    (transform,) = (t for t in RECIPES["strong"].transforms(96) if isinstance(t, A.GaussianBlur))
    lengths = np.array([len(one["kernel"]) for one in theirs(transform)])
    same(2 * np.floor(3.5 * sigma[sigma > 0]) + 1, lengths)
    assert kstest(sigma[sigma > 0], "uniform", (0.1, 1.9)).pvalue > 0.01
    assert not draws(size=64).sigma.any()


def test_what_is_drawn_for_one_thing_says_nothing_about_another():
    ours = draws()
    chosen = (ours.factors != NEUTRAL).any(1) & (ours.sigma[:, 0] > 0)
    columns = np.concatenate([ours.box, ours.flip, ours.factors, ours.order[:, :3], ours.gray, ours.sigma], 1)[chosen]
    related = np.abs(np.corrcoef(columns.T) - np.eye(columns.shape[1]))
    related[:4, :4] = related[9:12, 9:12] = 0  # corners of one box, places of one order
    assert related.max() < 4.5 / np.sqrt(chosen.sum())


# Keys ----------------------------------------------------------------------------------------------------------------

PARAMETERS = AugmentationParameters(
    (64, 48), [Kind(2, 32, (0.4, 1.0), RECIPES["simclr"]), Kind(3, 16, (0.05, 0.4), RECIPES["simclr"])]
)


def test_a_batch_is_drawn_as_its_samples_are_alone():
    keys = [(0, 3, i) for i in (7, 1, 900, 12)]
    together, alone = PARAMETERS(keys), [PARAMETERS([key]) for key in keys]
    assert [tuple(part.shape) for part in together] == [(4, 2, 15), (4, 3, 15)]
    for kind in range(2):
        assert torch.equal(together[kind], torch.cat([one[kind] for one in alone]))


@pytest.mark.parametrize("part", range(3), ids=["seed", "epoch", "index"])
def test_every_part_of_the_key_and_every_view_is_drawn_anew(part):
    keys = [tuple(5 + i * (p == part) for p in range(3)) for i in range(10)]
    rows = torch.cat([drawn.flatten(0, 1) for drawn in PARAMETERS(keys)])
    assert len({tuple(row.tolist()) for row in rows}) == 50


def test_numbers_survive_a_trainer_of_half_precision():
    assert all(not part.is_floating_point() for part in PARAMETERS([(0, 0, 0)]))
    boxes = PARAMETERS([(0, 0, i) for i in range(50)])[0].view(torch.float32)[..., :4]
    assert torch.equal(boxes, boxes.round())
    assert boxes.max() <= 64
