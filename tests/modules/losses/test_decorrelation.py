"""VICReg's, Barlow Twins' and LeJEPA's terms against closed forms and lightly's."""

import math

import pytest
import torch

from modules.losses.decorrelation import barlow_twins, sigreg, vicreg


def values(terms: dict[str, torch.Tensor]) -> list[float]:
    return [term.item() for term in terms.values()]


def test_vicreg_of_independent_dimensions_of_unit_variance_is_zero_and_of_collapsed_ones_all_variance():
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert values(vicreg(corners, corners)) == pytest.approx([0, 0, 0])
    still = torch.full((4, 2), 5.0)
    assert values(vicreg(still, still + 2)) == pytest.approx([4, 0.99, 0])  # deviations of sqrt(1e-4)


def test_vicreg_of_repeated_dimensions_is_their_covariance():
    line = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])  # all covariances are 2, six off the diagonal
    assert values(vicreg(line, line)) == pytest.approx([0, 0, 2 * 6 * 2**2 / 3])


def test_barlow_twins_of_equal_opposite_and_repeated_dimensions_is_a_closed_form():
    corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert values(barlow_twins(3 * corners + 1, corners)) == pytest.approx([0, 0], abs=1e-4)
    assert values(barlow_twins(corners, -corners)) == pytest.approx([2 * 2**2, 0], abs=1e-4)
    line = corners[:, :1].expand(4, 2)
    assert values(barlow_twins(line, line)) == pytest.approx([0, 2], abs=1e-4)


@pytest.mark.parametrize("loss", [vicreg, barlow_twins])
def test_terms_are_computed_in_float32_under_bf16_autocast(loss):
    first, second = torch.randn(2, 16, 8).unbind()
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss(first, second)
    assert values(terms) == values(loss(first, second))


def test_equal_lightlys_for_the_same_tensors():
    theirs = pytest.importorskip("lightly.loss", reason="lightly is not installed: pip install -e '.[bench]'")
    torch.manual_seed(0)
    first, second = 2 * torch.randn(16, 24) + 1, torch.randn(16, 24)
    invariance, redundancy = barlow_twins(first, second).values()
    ours, expected = invariance + 0.005 * redundancy, theirs.BarlowTwinsLoss(0.005)(first, second)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    invariance, variance, covariance = vicreg(first, second).values()
    ours, expected = 25 * invariance + 25 * variance + covariance, theirs.VICRegLoss()(first, second)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_sigreg_of_standard_normal_embeddings_does_not_depend_on_their_number():
    """The squared error of a characteristic function of N draws is (1 - exp(-t^2)) / N on average."""
    expected = 2 * (integral(1) - integral(3))
    for number in (16, 256):
        embeddings = torch.randn(64, number, 8, generator=torch.Generator().manual_seed(0))
        found = sigreg(embeddings, torch.randn(8, 64, generator=torch.Generator().manual_seed(1)))
        assert found.item() == pytest.approx(expected, rel=0.1)


def integral(a: float) -> float:
    """The integral of exp(-a t^2 / 2) over 0..3."""
    return math.sqrt(math.pi / (2 * a)) * math.erf(3 * math.sqrt(a / 2))


def test_sigreg_of_collapsed_embeddings_is_a_closed_form():
    expected = 2 * 10 * (integral(1) - 2 * integral(2) + integral(3))
    assert sigreg(torch.zeros(2, 10, 4), torch.randn(4, 5)).item() == pytest.approx(expected, rel=1e-2)
    assert sigreg(torch.zeros(2, 10, 4), torch.randn(4, 5), 1000).item() == pytest.approx(expected, rel=1e-4)
    assert sigreg(torch.zeros(2, 20, 4), torch.randn(4, 5), 1000).item() == pytest.approx(2 * expected, rel=1e-4)


def test_sigreg_of_two_points_is_an_integral_of_their_cosine():
    """One dimension, half of the embeddings at 1 and half at -1: their characteristic function is cos t."""
    step = torch.linspace(0, 3, 10001, dtype=torch.float64)
    normal = (-step.square() / 2).exp()
    expected = 2 * 4 * torch.trapezoid((step.cos() - normal).square() * normal, step)
    found = sigreg(torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]]), torch.tensor([[-3.0]]), 1000)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_sigreg_equals_lightlys_for_the_same_directions(monkeypatch):
    reason = "lightly is not installed, or without LeJEPA: pip install -e '.[bench]'"
    theirs = pytest.importorskip("lightly.loss.lejepa_loss", reason=reason)
    directions = torch.randn(8, 32)
    regularizer = theirs.SIGReg(num_vectors=32)
    monkeypatch.setattr(regularizer, "_generate_unit_vectors", lambda *_: directions / directions.norm(dim=0))
    embeddings = 2 * torch.randn(3, 16, 8) + 1
    torch.testing.assert_close(sigreg(embeddings, directions), regularizer(embeddings), atol=1e-5, rtol=1e-5)
