"""Deletion, insertion, pointing game, energy and randomized weights, on scores that are known."""

import torch
from scipy.stats import spearmanr
from torch import nn

from modules.insight.faithfulness import (
    area,
    center_maps,
    curves,
    energy,
    pointing,
    random_maps,
    randomization,
    rank_correlation,
    smoothed,
    stretched,
)
from modules.insight.subject import Subject


def subject() -> Subject:
    """The score is the mean of a corner of 4 x 4 pixels."""
    return Subject(torch.ones(2, 3, 8, 8), lambda inputs, rows: inputs[:, :, :4, :4].mean((1, 2, 3)))


def corner() -> torch.Tensor:
    maps = torch.zeros(2, 8, 8)
    maps[:, :4, :4] = 1
    return maps


def test_the_true_map_deletes_fastest_and_inserts_fastest():
    deletion, insertion = curves(subject(), corner(), steps=4)
    assert deletion[0].tolist() == [1, 0, 0, 0, 0] and insertion[1].tolist() == [0, 1, 1, 1, 1]
    assert torch.allclose(area(deletion), torch.tensor(0.125)) and torch.allclose(area(insertion), torch.tensor(0.875))
    late, _ = curves(subject(), -corner(), steps=4)
    assert late[0].tolist() == [1, 1, 1, 1, 0]


def test_equal_pixels_are_taken_in_random_order():
    deletion, _ = curves(subject(), torch.zeros(2, 8, 8), steps=8)
    assert torch.allclose(deletion[0], torch.linspace(1, 0, 9), atol=0.2) and 0.4 < area(deletion)[0] < 0.6


def test_pointing_game_and_energy_ask_for_the_object():
    masks = corner() > 0
    coarse = torch.zeros(2, 2, 2)
    coarse[0, 0, 0], coarse[1, 1, 0] = 1, 1
    assert pointing(coarse, masks).tolist() == [True, False]
    assert torch.allclose(energy(corner(), masks), torch.ones(2))
    assert torch.allclose(energy(torch.ones(2, 8, 8), masks), torch.full((2,), 0.25))
    assert energy(torch.zeros(2, 8, 8), masks).tolist() == [0, 0]


def test_pointing_goes_by_a_neighborhood_and_not_by_a_single_pixel():
    maps = torch.zeros(1, 64, 64)
    maps[0, 8:16, 8:16] = 0.2  # the object
    maps[0, 50, 50] = 1  # noise
    assert pointing(maps, maps == 0.2).tolist() == [True]
    torch.testing.assert_close(smoothed(torch.full((2, 6, 64), 3.0)), torch.full((2, 6, 64), 3.0))
    expected = torch.exp(-0.5 * (torch.arange(64) - 32.0) ** 2 / 2**2)  # 64 / 32 = 2 pixels
    torch.testing.assert_close(smoothed(torch.eye(64)[None, 32])[0], expected / expected.sum())


def test_maps_are_stretched_over_space_and_repeated_over_time():
    assert stretched(torch.rand(2, 3, 3), (8, 6)).shape == (2, 8, 6)
    assert stretched(torch.rand(2, 3, 3), (4, 8, 6)).shape == (2, 4, 8, 6)
    assert stretched(torch.rand(2, 2, 3, 3), (4, 8, 6)).shape == (2, 4, 8, 6)
    assert stretched(torch.rand(2, 5), (5,)).shape == (2, 5)


def test_baselines_know_nothing_or_the_center():
    assert random_maps(3, (8, 9)).shape == (3, 8, 9) and not torch.equal(*random_maps(2, (8, 8)))
    middle = center_maps(1, (9, 9))[0]
    assert middle.argmax() == 40 and middle[0, 0] == middle.min()


def test_rank_correlation_is_spearman():
    one, other = torch.rand(2, 5, 5), torch.rand(2, 5, 5).round(decimals=1)
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one, other, strict=True)]
    assert torch.allclose(rank_correlation(one, other), torch.tensor(expected).float(), atol=1e-5)
    assert rank_correlation(one, torch.ones(2, 5, 5)).tolist() == [0, 0]


def test_randomized_weights_change_a_map_that_depends_on_them_and_are_put_back():
    network = nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40, bias=False))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    names, found = randomization(network, lambda: network[1].weight.detach()[None], depths=2)
    assert names == ["1", "0"] and (found.abs() < 0.1).all()
    names, found = randomization(network, lambda: network[1].weight.detach()[None], depths=1000)
    assert names == ["1", "0"] and len(found) == 2  # no more steps than layers
    _, same = randomization(network, lambda: torch.arange(4.0)[None], depths=2)
    assert torch.allclose(same, torch.ones(2, 1))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
