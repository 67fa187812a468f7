"""DiffAugment: each change by hand, and gradients through all of them."""

import pytest
import torch

from modules.augmentation.diff_augment import PARAMETERS, diff_augment

ALL = ["color", "translation", "cutout"]


def draws(count: int, **values: float) -> torch.Tensor:
    names = ["brightness", "saturation", "contrast", "down", "right", "hole_down", "hole_right"]
    assert len(names) == PARAMETERS
    neutral = torch.full((count, PARAMETERS), 0.5)
    for name, value in values.items():
        neutral[:, names.index(name)] = value
    return neutral


def test_draws_in_the_middle_change_nothing():
    image = torch.rand(2, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(diff_augment(image, draws(2), ["color", "translation"]), image)
    assert diff_augment(image, torch.rand(2, PARAMETERS), []) is image


def test_color_by_hand():
    image = torch.rand(2, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(diff_augment(image, draws(2, brightness=0.9), ["color"]), image + 0.4)
    gray = diff_augment(image, draws(2, saturation=0.0), ["color"])
    torch.testing.assert_close(gray, image.mean(1, keepdim=True).expand_as(image))
    mean = image.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(diff_augment(image, draws(2, contrast=1.0), ["color"]), (image - mean) * 1.5 + mean)


def test_translation_shifts_and_fills_with_zeros():
    image = torch.rand(1, 3, 16, 16) + 0.1
    moved = diff_augment(image, draws(1, down=0.999, right=0.0), ["translation"])  # two down, two left
    torch.testing.assert_close(moved[:, :, 2:, :-2], image[:, :, :-2, 2:])
    assert (moved[:, :, :2] == 0).all()
    assert (moved[:, :, :, -2:] == 0).all()


def test_cutout_covers_a_square_of_half_the_side_around_its_center():
    image = torch.ones(3, 3, 16, 16)
    places = draws(3)
    places[1, 5:], places[2, 5:] = 0.0, 0.9999
    holes = diff_augment(image, places, ["cutout"])[:, 0] == 0
    assert holes[0, 4:12, 4:12].all()
    assert holes.sum((1, 2)).tolist() == [64, 16, 16]  # at a corner a quarter is left, 4 x 4 of 8 x 8
    assert holes[1, :4, :4].all()
    assert holes[2, 12:, 12:].all()


def test_every_image_has_its_own_draws_which_reach_the_ends():
    image = torch.rand(1, 3, 16, 16).expand(500, -1, -1, -1)
    changed = diff_augment(image, torch.rand(500, PARAMETERS), ALL)
    assert len(changed.flatten(1).unique(dim=0)) > 400
    rows = diff_augment(torch.ones(500, 1, 16, 16), torch.rand(500, PARAMETERS), ["translation"])[:, 0].sum((1, 2))
    shares = torch.bincount((rows == 256).long()).float() / 500
    assert shares[1] == pytest.approx(1 / 25, abs=0.03)  # 5 x 5 shifts


def test_gradients_flow_through_all_changes():
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    random = torch.rand(2, PARAMETERS, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, random, ALL), image)
