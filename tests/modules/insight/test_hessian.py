"""Eigenvalues of the Hessian by Lanczos, against exact Hessians."""

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding_bag
from torch.nn.utils import parameters_to_vector
from torchvision.ops import roi_align

from modules.insight.hessian import curvature, lanczos, twice_differentiable


def exact(loss: torch.Tensor, parameters: list[torch.Tensor]) -> torch.Tensor:
    """Hessian (n, n), row by row."""
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True) for one in flat]
    return torch.stack([parameters_to_vector(row) for row in rows])


def test_all_eigenvalues_of_a_tiny_network_are_found():
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs, labels = torch.randn(20, 3).double(), torch.randint(0, 2, (20,))
    loss = nn.functional.cross_entropy(network(inputs), labels)
    parameters = list(network.parameters())
    wanted = torch.linalg.eigvalsh(exact(loss, parameters))
    found = curvature(loss, parameters, len(wanted))
    assert found.eigenvalues[[0, -1]] == pytest.approx(wanted[[0, -1]], rel=1e-8)
    assert found.size == len(wanted) and found.negative == (wanted < -1e-4 * wanted.abs().max()).sum()
    few = curvature(loss, parameters, 6)
    assert few.largest == pytest.approx(float(wanted[-1]), rel=0.05) and few.errors[-1] < 0.05
    assert "saddle" in found.verdict


def test_ritz_values_lie_within_their_errors_of_eigenvalues():
    wanted = torch.linspace(-1, 3, 40, dtype=torch.float64)
    values, errors, weights = lanczos(lambda v: wanted * v, torch.randn(40, dtype=torch.float64), 12)
    gaps = (values[:, None] - wanted).abs().min(1).values
    assert (gaps <= errors + 1e-12).all() and float(weights.sum()) == pytest.approx(1)


def test_a_bowl_is_a_minimum_and_a_plane_is_flat():
    weight = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    bowl = curvature((torch.tensor([1.0, 4.0, 4.0]) * weight**2).sum(), [weight], 10)
    assert bowl.eigenvalues.tolist() == pytest.approx([2, 8])  # all that can be reached
    assert bowl.negative == 0 and "minimum" in bowl.verdict
    assert bowl.gradient == pytest.approx((4 + 256 + 576) ** 0.5)
    assert curvature(weight.sum(), [weight], 10).eigenvalues.tolist() == [0]


def test_operations_without_a_second_derivative_are_computed_by_others_that_have_one():
    maps = torch.randn(1, 4, 8, 8, requires_grad=True)
    boxes, rows = [torch.tensor([[1.0, 1.0, 6.0, 7.0]])], torch.randint(0, 64, (5, 4), dtype=torch.int32)

    def outputs() -> list[torch.Tensor]:
        table, weights = maps[0].flatten(1).T, torch.linspace(0, 1, 20).view(5, 4)
        return [roi_align(maps, boxes, 3, 1.0, 2), embedding_bag(rows, table, mode="sum", per_sample_weights=weights)]

    with twice_differentiable():
        ours = outputs()
    for one, other in zip(ours, outputs(), strict=True):
        torch.testing.assert_close(one, other)
    assert curvature(sum(one.pow(4).sum() for one in ours), [maps], 3).largest > 0
