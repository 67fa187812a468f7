"""Feature lifting: fixed functions of features, on which a linear layer separates what it could not before."""

import math
from itertools import combinations_with_replacement

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError

MOST = 100_000  # features that a lift may have


class RandomFourier(nn.Module):
    """Random Fourier features (Rahimi and Recht 2007): sqrt(2 / m) cos(W x + b).

    The dot product of two lifted inputs approximates the Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)), with an
    error of about 1 / sqrt(m); a linear classifier on them approximates a kernel machine.

    Args:
        inputs: width D.
        width: number m of random features.
        bandwidth: of the kernel, in units of the inputs.
    """

    def __init__(self, inputs: int, width: int, bandwidth: float):
        super().__init__()
        self.width = width
        self.register_buffer("frequencies", torch.randn(width, inputs) / bandwidth)
        self.register_buffer("phases", 2 * math.pi * torch.rand(width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, m)."""
        angles = nn.functional.linear(features, self.frequencies, self.phases)
        return math.sqrt(2 / self.width) * angles.cos()


class Polynomial(nn.Module):
    """All products of up to `degree` features, weighted so that dot products are the kernel (1 + x . y)^degree.

    The weight of a product is the square root of the number of ways to write it (multinomial coefficient).

    Args:
        inputs: width D.
        degree: of the polynomial; there are (D + degree choose degree) features.

    Raises:
        ConfigError: more features than `MOST`.
    """

    def __init__(self, inputs: int, degree: int):
        super().__init__()
        self.width = math.comb(inputs + degree, degree)
        if self.width > MOST:
            raise ConfigError(
                f"head.degree {degree} makes {self.width:,} products of {inputs:,} features, more than {MOST:,}: set "
                "--model.head.lift fourier, whose number is --model.head.lifted_features, or take fewer features"
            )
        # 0 is the constant 1, which fills up products of fewer factors
        factors = list(combinations_with_replacement(range(inputs + 1), degree))
        ways = [math.factorial(degree) / math.prod(math.factorial(f.count(i)) for i in set(f)) for f in factors]
        self.register_buffer("factors", torch.tensor(factors).T.contiguous(), persistent=False)  # (degree, products)
        self.register_buffer("weights", torch.tensor(ways).sqrt(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) to (B, products), the constant first."""
        known = nn.functional.pad(features, (1, 0), value=1.0)
        lifted = self.weights.to(features)
        for factor in self.factors:
            lifted = lifted * known[:, factor]
        return lifted
