"""Scores of generated images equal closed forms, and torchmetrics on the same features."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from modules.metrics.generative import (
    Gaussian,
    GenerativeScores,
    frechet_distance,
    gaussian,
    gaussian_pixels,
    inception_score,
    kernel_distance,
    modes,
    nearest,
    neighborhood,
    reference,
)
from tests.helpers.errors import refuses


class Features(nn.Identity):
    """Lets torchmetrics take features for images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def sets(real: int = 300, generated: int = 200, width: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    mix = torch.randn(width, width)
    return torch.randn(real, width) @ mix + 5, 1.3 * torch.randn(generated, width) @ mix + 4.5


def known(features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and radii, as `neighborhood` takes them."""
    return features, nearest(features, features, 6)[0][:, 1:]


def test_frechet_distance_of_independent_gaussians_is_their_closed_form():
    # squared difference of means, and of standard deviations
    one = Gaussian(torch.tensor([0.0, 1.0]).double(), torch.diag(torch.tensor([4.0, 9.0]).double()))
    other = Gaussian(torch.tensor([3.0, 1.0]).double(), torch.diag(torch.tensor([1.0, 25.0]).double()))
    assert frechet_distance(one, other).item() == pytest.approx(9 + 1 + 4)
    assert frechet_distance(one, one).item() == pytest.approx(0, abs=1e-9)


def test_frechet_distance_equals_scipy_and_torchmetrics():
    real, generated = sets()
    ours = frechet_distance(gaussian(real), gaussian(generated)).item()
    (mean, cov), (other_mean, other_cov) = ([part.numpy() for part in gaussian(x)] for x in (real, generated))
    root = sqrtm(cov @ other_cov).real
    assert ours == pytest.approx(((mean - other_mean) ** 2).sum() + np.trace(cov + other_cov - 2 * root), rel=1e-8)
    metric = FrechetInceptionDistance(Features(12)).set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    assert ours == pytest.approx(metric.compute().item(), rel=1e-6)


def test_frechet_distance_stays_real_with_fewer_images_than_features_and_after_a_collapse():
    real, generated = torch.randn(40, 64), torch.randn(30, 64)
    value = frechet_distance(gaussian(real), gaussian(generated))
    assert value.isfinite() and value > 0
    collapsed = frechet_distance(gaussian(real), gaussian(torch.zeros(30, 64)))
    expected = real.double().mean(0).square().sum() + real.double().T.cov().trace()
    assert collapsed.item() == pytest.approx(expected.item())


def test_a_reference_made_in_parts_knows_what_one_made_at_once_does():
    real, _ = sets(real=1001)
    kept = reference(real.split(100), 1001)
    mean, covariance = gaussian(real)
    assert int(kept.count) == 1001
    torch.testing.assert_close(kept.mean, mean)
    torch.testing.assert_close(kept.covariance, covariance)
    assert torch.equal(kept.features, real) and torch.equal(kept.rows, torch.arange(1001))
    distances = torch.cdist(real, real).sort(1).values[:, 1:6]
    torch.testing.assert_close(kept.radii, distances, atol=1e-2, rtol=1e-3)


def test_a_large_reference_keeps_an_even_sample(monkeypatch):
    monkeypatch.setattr("modules.metrics.generative.MAX_NEIGHBOR_BANK", 50)
    real = torch.arange(130.0)[:, None].expand(130, 4)
    kept = reference(real.split(7), 130)
    assert kept.rows.tolist() == list(range(0, 130, 3))
    assert kept.features[:, 0].tolist() == list(range(0, 130, 3))
    assert int(kept.count) == 130


def test_kernel_distance_equals_torchmetrics_and_is_unbiased():
    real, generated = sets()
    metric = KernelInceptionDistance(Features(12), subsets=1, subset_size=200)
    metric.update(real[:200], real=True)
    metric.update(generated, real=False)
    ours = kernel_distance(real[:200], generated, subsets=1)
    assert ours.item() == pytest.approx(metric.compute()[0].item(), rel=1e-4)
    values = torch.stack([kernel_distance(torch.randn(100, 8), torch.randn(100, 8), subsets=1) for _ in range(200)])
    assert abs(values.mean()) < 3 * values.std() / 200**0.5  # of equal distributions 0, on average
    assert (values < 0).any()
    assert torch.equal(kernel_distance(real, generated), kernel_distance(real, generated))


def test_inception_score_is_the_number_of_classes_for_sure_and_even_answers_and_one_for_equal_ones():
    sure = torch.eye(7).repeat(20, 1)
    assert inception_score(sure, splits=1).item() == pytest.approx(7)
    assert inception_score(torch.full((50, 7), 1 / 7)).item() == pytest.approx(1)
    assert inception_score(torch.eye(7)[:1].repeat(30, 1)).item() == pytest.approx(1)


def test_inception_score_equals_torchmetrics():
    logits = 2 * torch.randn(200, 9)
    metric = InceptionScore(Features(9), splits=1)  # with more, it shuffles
    metric.update(logits)
    assert inception_score(logits.softmax(1), splits=1).item() == pytest.approx(metric.compute()[0].item(), rel=1e-5)


def by_definition(real: np.ndarray, generated: np.ndarray) -> dict[str, float]:
    """The formulas of both papers, one image at a time."""

    def distance(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    def radius(x, k):
        return np.sort(distance(x, x), 1)[:, k]

    across = distance(generated, real)
    third, fifth, own = radius(real, 3), radius(real, 5), radius(generated, 3)
    return {
        "precision": np.mean([any(across[j] <= third) for j in range(len(generated))]),
        "recall": np.mean([any(across[:, i] <= own) for i in range(len(real))]),
        "density": np.mean([sum(across[j] <= fifth) / 5 for j in range(len(generated))]),
        "coverage": np.mean([across[:, i].min() <= fifth[i] for i in range(len(real))]),
    }


@pytest.mark.parametrize("chunk", [2**24, 700])
def test_neighborhood_equals_the_definitions(chunk, monkeypatch):
    monkeypatch.setattr("modules.metrics.generative.CELLS", chunk)
    real, generated = torch.randn(90, 3), torch.randn(70, 3) * 0.7 + 0.8
    found = {name: value.item() for name, value in neighborhood(*known(real), generated).items()}
    assert found == pytest.approx(by_definition(real.numpy(), generated.numpy()))
    assert 0 < found["recall"] < 1 and 0 < found["coverage"] < 1


def test_neighborhood_on_hand_made_sets():
    line = torch.arange(20.0)[:, None]  # every ball reaches 2 or more to both sides
    equal = neighborhood(*known(line), line.clone())
    assert {equal[name].item() for name in ("precision", "recall", "coverage")} == {1.0}
    far = neighborhood(*known(line), line + 1000)
    assert {value.item() for value in far.values()} == {0.0}
    one_mode = neighborhood(*known(line), torch.full((20, 1), 10.0))
    assert one_mode["precision"] == 1 and one_mode["recall"] == pytest.approx(1 / 20)
    assert one_mode["density"] > 1 and one_mode["coverage"] <= 7 / 20


def test_an_outlier_makes_precision_generous_but_not_coverage():
    """The flaw of precision that Naeem et al. (2020) mend: the ball around one outlier takes in everything."""
    real = torch.cat([torch.randn(50, 2), torch.tensor([[100.0, 0.0]])])
    found = neighborhood(*known(real), torch.randn(50, 2) * 0.1 + torch.tensor([50.0, 0.0]))
    assert found["precision"] == 1
    assert found["density"] < 0.3 and found["coverage"] < 0.1


def test_modes_count_classes_and_their_balance():
    found = modes(torch.tensor([50, 50, 0, 0]))
    assert found["modes"] == 2 and found["largest_mode"] == 0.5
    assert found["mode_entropy"].item() == pytest.approx(math.log(2) / math.log(4))
    assert modes(torch.tensor([5, 5, 5]))["mode_entropy"].item() == pytest.approx(1)
    assert modes(torch.tensor([9, 0, 0]))["mode_entropy"] == 0


def test_the_metric_gives_what_the_functions_do_and_refuses_a_few():
    real, generated = sets()
    probabilities = torch.rand(200, 5).softmax(1)
    metric = GenerativeScores(reference([real], len(real)))
    for part, chances in zip(generated.split(64), probabilities.split(64), strict=True):
        metric.update(part, chances)
    found = metric.compute()
    assert set(found) == {"FID", "KID", "IS", "precision", "recall", "density", "coverage"}
    assert found["FID"].item() == pytest.approx(frechet_distance(gaussian(real), gaussian(generated)).item(), rel=1e-6)
    assert found["KID"] == kernel_distance(real, generated)
    assert found["IS"] == inception_score(probabilities)
    metric.reset()
    metric.update(generated[:5], probabilities[:5])
    with refuses(ValueError, 5, 6):
        metric.compute()


def test_gaussian_pixels_have_the_mean_and_spread_of_the_images_and_only_correlated_ones_their_covariance():
    flat = 20 * torch.randn(400, 1) + 5 * torch.randn(400, 12) + torch.linspace(90, 160, 12)
    image = flat.round().clamp(0, 255).to(torch.uint8).view(400, 3, 2, 2)
    generator = torch.Generator().manual_seed(0)
    alone, together = (gaussian_pixels(image, 4000, c, generator).flatten(1).double() for c in (False, True))
    truth = image.flatten(1).double()
    for drawn in (alone, together):
        torch.testing.assert_close(drawn.mean(0), truth.mean(0), atol=2.0, rtol=0)
        torch.testing.assert_close(drawn.std(0), truth.std(0), atol=1.5, rtol=0)
    assert torch.corrcoef(together.T)[0, 5] == pytest.approx(torch.corrcoef(truth.T)[0, 5].item(), abs=0.03)
    assert abs(torch.corrcoef(alone.T)[0, 5]) < 0.06
