"""Lifted features against the kernels whose dot products they are."""

import pytest
import torch
from sklearn.preprocessing import PolynomialFeatures

from modules.contracts import ConfigError, Features
from modules.heads import Lifted
from modules.layers.lifting import Polynomial, RandomFourier
from tests.helpers.errors import refuses


def test_random_fourier_features_approximate_the_gaussian_kernel():
    x = torch.randn(30, 6)
    lifted = RandomFourier(6, 40_000, 1.7)(x)
    expected = (-torch.cdist(x, x).square() / (2 * 1.7**2)).exp()
    assert (lifted @ lifted.T - expected).abs().max() < 5 / 40_000**0.5


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_polynomial_features_are_the_polynomial_kernel(degree):
    x = torch.randn(9, 4, dtype=torch.float64)
    lift = Polynomial(4, degree)
    lifted = lift(x)
    torch.testing.assert_close(lifted @ lifted.T, (1 + x @ x.T) ** degree, rtol=1e-5, atol=1e-4)
    library = PolynomialFeatures(degree).fit(x.numpy())
    assert lifted.shape[1] == lift.width == library.n_output_features_
    products = (lifted / lift.weights.double()).sum(1)
    torch.testing.assert_close(products, torch.from_numpy(library.transform(x.numpy())).sum(1), rtol=1e-5, atol=1e-4)


def test_the_head_is_a_linear_layer_on_lifted_features():
    head = Lifted(Features([8], [4], 6), 3, lifted_features=10, loss="focal")
    x = torch.randn(2, 6)
    torch.testing.assert_close(head(x), head.fc(head.lift(x)))
    assert head.loss_name.startswith("focal") and head.fc.in_features == 10
    assert {name for name, _ in head.named_parameters()} == {"fc.weight", "fc.bias"}
    other = Lifted(Features([8], [4], 6), 3, lifted_features=10)
    other.load_state_dict(head.state_dict())  # the random numbers are part of it
    torch.testing.assert_close(other(x), head(x))


def rings(count: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    radius, labels = torch.tensor([1.0, 2.0]).repeat(count // 2), torch.tensor([0, 1]).repeat(count // 2)
    angle = torch.rand(count) * 2 * torch.pi
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1), labels


@pytest.mark.parametrize("lift", [{"lift": "polynomial"}, {"lifted_features": 50, "bandwidth": 1.0}])
def test_two_rings_become_separable(lift):
    x, labels = rings()
    lifted = Lifted(Features([2], [1]), 2, **lift).lift(x)
    targets = 2.0 * labels[:, None] - 1
    separated = [  # by least squares, which separates what a plane through the features can
        (((f @ torch.linalg.lstsq(f, targets).solution) > 0).squeeze(1) == labels).float().mean()
        for f in (torch.cat([x, torch.ones(len(x), 1)], 1), lifted)
    ]
    assert separated[0] < 0.7 and separated[1] == 1


def test_lifts_that_cannot_be_are_refused():
    with refuses(ConfigError, "head.degree", "3,072", "--model.head.lift fourier"):
        Lifted(Features([3], [1], 3072), 2, lift="polynomial")
    with refuses(ConfigError, "bandwidth", "-1"):
        Lifted(Features([3], [1]), 2, bandwidth=-1)
    with refuses(ConfigError, "degree", "0"):
        Lifted(Features([3], [1]), 2, degree=0)
