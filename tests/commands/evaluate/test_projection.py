import numpy as np
import pytest
import torch

from callbacks.figures.base import distinct
from commands.evaluate.drawing import projection, spread
from commands.evaluate.projection import lay_out


def two_groups(count: int) -> torch.Tensor:
    side = torch.arange(count) % 2
    return 4 * torch.eye(8)[side] + 0.3 * torch.randn(count, 8)


@pytest.mark.parametrize(("count", "method", "words"), [(60, "tsne", "t-SNE"), (60, "pca", "PCA"), (20, "tsne", "PCA")])
def test_neighbors_stay_neighbors_in_the_projection(count, method, words):
    points, how = lay_out(two_groups(count), method, seed=0)
    assert points.shape == (count, 2) and how.startswith(words)
    apart = np.linalg.norm(points[:, None] - points, axis=2) + 1e9 * np.eye(count)
    assert (apart.argmin(1) % 2 == np.arange(count) % 2).all()


def test_the_same_seed_gives_the_same_projection():
    features = two_groups(60)
    first, second = (lay_out(features, "tsne", seed=4)[0] for _ in range(2))
    assert np.array_equal(first, second)


def test_thumbnails_keep_their_distance_first_come_first_served():
    points = np.array([[0, 0], [5, 5], [0, 11], [30, 0], [31, 9]])
    assert spread(points, 10) == [0, 2, 3]


@pytest.mark.parametrize("groups", [None, np.arange(30) % 25])
def test_a_projection_is_drawn_with_and_without_groups(groups):
    thumbnails = [np.full((8, 8, 3), i, np.uint8) for i in range(30)]
    drawn = projection(
        np.random.default_rng(0).normal(size=(30, 2)), thumbnails, groups, [f"${i}" for i in range(25)], "t"
    )
    assert drawn.dtype == np.uint8 and len(np.unique(drawn)) > 20


@pytest.mark.parametrize("count", [3, 10, 15, 40])
def test_colors_differ(count):
    assert len(set(map(tuple, distinct(count)))) == count
