import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from commands.evaluate.probes import (
    STRENGTHS,
    accuracy,
    choose_c,
    clusters,
    fit_linear,
    fit_sgd,
    scale,
)


def blobs(count: int, spread: float, classes: int = 4, dimensions: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around one center per class."""
    generator = torch.Generator().manual_seed(count)
    labels = torch.arange(count) % classes
    return 5 * torch.eye(dimensions)[labels] + spread * torch.randn(count, dimensions, generator=generator), labels


@pytest.mark.parametrize("c", [0.01, 1.0])
def test_the_converged_probe_is_that_of_scikit_learn(c):
    (features, labels), (others, truth) = blobs(120, 4.0), blobs(400, 4.0)
    theirs = LogisticRegression(C=c, tol=1e-8, max_iter=5000).fit(features.numpy(), labels.numpy())
    ours = fit_linear(features, labels, 4, c)
    assert ours.weight.numpy() == pytest.approx(theirs.coef_, abs=2e-3)
    assert accuracy(ours(others), truth) == pytest.approx(theirs.score(others.numpy(), truth.numpy()), abs=0.005)


@pytest.mark.parametrize("fit", [lambda f, y: fit_linear(f, y, 4, 1.0), lambda f, y: fit_sgd(f, y, 4, 20, 1.0, 0)])
def test_probes_separate_what_a_line_separates(fit):
    features, labels = blobs(200, 0.1)
    standardize = scale(features)
    others, truth = blobs(100, 0.1)
    assert accuracy(fit(standardize(features), labels)(standardize(others)), truth) == 1


def test_the_recipe_ends_near_the_optimum_and_repeats_itself():
    features, labels = blobs(300, 3.0)
    first, second = (fit_sgd(features, labels, 4, 50, 0.1, seed=3) for _ in range(2))
    assert torch.equal(first.weight, second.weight) and first.steps == 50 * 2  # batches of 256 and 44
    assert accuracy(first(features), labels) == pytest.approx(
        accuracy(fit_linear(features, labels, 4, 100.0)(features), labels), abs=0.03
    )


def test_the_chosen_c_is_best_on_what_was_held_out_and_the_smallest_among_equals():
    train, held = blobs(24, 5.0), blobs(500, 5.0)
    scores = {c: accuracy(fit_linear(*train, 4, c)(held[0]), held[1]) for c in STRENGTHS}
    assert len(set(scores.values())) > 1
    assert scores[choose_c(train, held, 4)] == max(scores.values())
    easy = blobs(200, 0.01)
    assert choose_c(easy, easy, 4) == STRENGTHS[0]


def test_standardizing_gives_mean_0_and_spread_1_and_silences_constants():
    features = torch.randn(50, 3) * torch.tensor([10.0, 0.1, 0.0]) + 7
    scaled = scale(features)(features)
    assert scaled.mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert scaled.std(0, correction=0).tolist() == pytest.approx([1, 1, 0], abs=1e-4)


def test_perfect_clusters_agree_with_the_classes_and_noise_does_not():
    features, labels = blobs(200, 0.1)
    assigned, information = clusters(features, labels, 4, seed=0)
    assert information == pytest.approx(1) and (assigned == labels.numpy()).all()
    assigned, information = clusters(torch.randn(400, 6), torch.arange(400) % 4, 4, seed=0)
    assert information < 0.1 and 0.2 < (assigned == np.arange(400) % 4).mean() < 0.45
