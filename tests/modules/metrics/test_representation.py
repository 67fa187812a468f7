"""Statistics of features without labels, against closed forms and hand computations."""

import numpy as np
import pytest
import torch
from scipy.linalg import fractional_matrix_power
from torch.nn.functional import normalize

from modules.metrics.representation import (
    RIDGE,
    alignment,
    effective_rank,
    embedding_std,
    lidar,
    rankme,
    uniformity,
)


def test_spread_is_one_for_axes_in_both_directions_and_zero_for_one_point():
    axes = torch.cat([torch.eye(6), -torch.eye(6)]) * 7.0
    assert embedding_std(axes) == pytest.approx(1)
    assert embedding_std(torch.ones(10, 6)) == pytest.approx(0, abs=1e-6)


def test_spread_of_a_gaussian_is_near_one():
    assert embedding_std(torch.randn(4000, 32)) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_effective_rank_counts_equally_used_dimensions(rank):
    assert effective_rank(torch.eye(rank, 8).repeat(3, 1)) == pytest.approx(rank, rel=1e-4)


def test_embeddings_that_are_all_zero_have_the_rank_of_one_point():
    assert effective_rank(torch.zeros(9, 4)) == 1


def test_effective_rank_is_the_exponential_of_the_entropy():
    rows = torch.tensor([[1.0, 0.0]] * 9 + [[0.0, 1.0]])  # singular values 3 and 1
    share = torch.tensor([0.75, 0.25])
    assert effective_rank(rows) == pytest.approx(torch.exp(-(share * share.log()).sum()).item(), rel=1e-4)


def test_alignment_of_known_views():
    one = torch.tensor([[3.0, 0, 0], [0, 2, 0]])
    assert alignment(one, 5 * one) == pytest.approx(0, abs=1e-6)  # length does not count
    assert alignment(one, one.flip(0)) == pytest.approx(2)  # right angles
    assert alignment(one, -one) == pytest.approx(4)


def test_uniformity_of_known_points():
    assert uniformity(torch.ones(5, 3)) == pytest.approx(0, abs=1e-6)
    assert uniformity(7 * torch.eye(4)) == pytest.approx(-4)  # all pairs at a squared distance of 2
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    spread = uniformity(torch.randn(1000, 64))
    assert spread < -3.7 and spread < uniformity(normalize(torch.randn(1000, 64), dim=1) + 0.2)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_rankme_counts_directions_of_equal_size(rank):
    assert rankme(5 * torch.eye(rank, 8).repeat(4, 1)) == pytest.approx(rank, rel=1e-4)


def test_rankme_takes_features_as_long_as_they_are():
    features = torch.tensor([[3.0, 0], [0, 1]])
    share = np.array([0.75, 0.25])
    assert rankme(features) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-5)
    assert effective_rank(features) == pytest.approx(2)


def test_lidar_counts_directions_that_tell_images_apart_but_not_their_views():
    images = torch.cat([torch.eye(4, 6), -torch.eye(4, 6)])
    same = images[:, None].repeat(1, 2, 1)
    assert lidar(same) == pytest.approx(4, rel=1e-3)
    noisy = same.clone()
    noisy[:, :, 0] += torch.tensor([-5.0, 5.0])  # as far apart as can be within each image
    assert lidar(noisy) == pytest.approx(3, rel=1e-2)


def test_lidar_is_the_published_formula():
    views = torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 2, 1, 1, 0.1])
    e = views.double().numpy()
    centers = e.mean(1)
    between = np.cov(centers.T, bias=True)
    within = np.mean([np.outer(d, d) for d in (e - centers[:, None]).reshape(-1, 5)], 0) + RIDGE * np.eye(5)
    root = fractional_matrix_power(within, -0.5)
    values = np.linalg.eigvalsh(root @ between @ root)
    share = values / values.sum() + 1e-7
    assert lidar(views) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
