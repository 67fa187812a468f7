"""Linear classification head on lifted features."""

from typing import Literal

from torch import Tensor

from modules.contracts import Features, Maps, check_range, check_sizes
from modules.heads.classification.linear import Linear
from modules.layers.lifting import Polynomial, RandomFourier


class Lifted(Linear):
    """Linear layer on random Fourier or polynomial features of the pooled ones, with the loss of `Linear`.

    The lift is fixed; only the linear layer learns. On `--model.backbone pixels` it is a kernel machine on pixels.

    Args:
        features: feature pyramid of the backbone or fusion.
        outputs: number of classes C.
        lift: `fourier` approximates the Gaussian kernel exp(-|x - y|^2 / (2 bandwidth^2)) by random cosines (Rahimi and
            Recht 2007); `polynomial` takes all products of up to `degree` features.
        lifted_features: number of random cosines, for `fourier`.
        bandwidth: of the kernel, for `fourier`; null is the square root of the number of pooled features, which suits
            standardized ones.
        degree: of the polynomial.
        kwargs: as in `Linear`.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        lift: Literal["fourier", "polynomial"] = "fourier",
        lifted_features: int = 4096,
        bandwidth: float | None = None,
        degree: int = 2,
        **kwargs,
    ):
        check_sizes("head", lifted_features=lifted_features, degree=degree)
        check_range("head.bandwidth", 1.0 if bandwidth is None else bandwidth, low=1e-6)
        inputs = features.pooled
        if lift == "fourier":
            made = RandomFourier(inputs, lifted_features, inputs**0.5 if bandwidth is None else bandwidth)
        else:
            made = Polynomial(inputs, degree)
        super().__init__(Features(features.channels, features.strides, made.width), outputs, **kwargs)
        self.lift = made

    def forward(self, features: Tensor | Maps) -> Tensor:
        """Pooled features (B, D) to logits (B, C)."""
        return super().forward(self.lift(features))
