"""Building blocks of the classic networks; activation, norm and initialization are one argument each."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from timm.layers import DropPath, GroupNorm, get_act_layer, get_norm_layer
from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation

from modules.contracts import ConfigError

Init = Literal["kaiming", "xavier", "gaussian"]
Sizes = int | tuple[int, int]


def convolution(
    inputs: int,
    outputs: int,
    kernel: Sizes = 3,
    stride: int = 1,
    padding: Sizes | None = None,
    norm: str | None = "batchnorm",
    activation: str | None = "relu",
    groups: int = 1,
    dilation: int = 1,
    bias: bool | None = None,
) -> nn.Sequential:
    """Convolution, norm and activation: torchvision's Conv2dNormActivation, with timm's names of layers.

    Args:
        padding: null keeps the size of the map (divided by the stride), 0 is none.
        norm: such as `batchnorm`, `groupnorm` or `layernorm2d`; null or `none` is none, and leaves a bias.
        activation: such as `relu`, `silu` or `tanh`; null is none.
        bias: of the convolution; null has one where there is no norm.

    Raises:
        ConfigError: a norm or activation that timm does not have.
    """
    layers = {"norm_layer": norm_layer(norm), "activation_layer": activation_layer(activation) if activation else None}
    return Conv2dNormActivation(
        inputs, outputs, kernel, stride, padding, groups, dilation=dilation, bias=bias, **layers
    )


def activation_layer(name: str) -> Callable[..., nn.Module]:
    """timm's activation of that name, or `softsign`.

    Raises:
        ConfigError: there is none.
    """
    try:
        return Softsign if name == "softsign" else get_act_layer(name)
    except KeyError as error:
        raise ConfigError(f"timm has no activation {name!r}: try relu, leaky_relu, elu, silu, gelu or tanh") from error


class Softsign(nn.Softsign):
    """Softsign x / (1 + |x|) (Turian et al. 2009), with the argument that other activations take and it ignores."""

    def __init__(self, inplace: bool = False):
        super().__init__()


def norm_layer(name: str | None) -> Callable[[int], nn.Module] | None:
    """timm's norm of that name, to be called with the number of channels; nothing for null and `none`.

    `groupnorm` has 32 groups, or as many fewer as divide the channels.

    Raises:
        ConfigError: there is none.
    """
    if name == "groupnorm":
        return lambda channels: GroupNorm(channels, math.gcd(channels, 32))
    try:
        return None if name == "none" else get_norm_layer(name)
    except KeyError as error:
        raise ConfigError(f"timm has no norm {name!r}: try batchnorm, groupnorm or layernorm2d") from error


def response_norm(norm: str, alpha: float = 1e-4, k: float = 1.0) -> list[nn.Module]:
    """Normalization of each place across 5 channels (Krizhevsky et al. 2012) if `norm` is `lrn`, else nothing."""
    return [nn.LocalResponseNorm(5, alpha, k=k)] if norm == "lrn" else []


class Parallel(nn.ModuleList):
    """Parallel branches over the same map, their outputs concatenated along the channels, as in Inception."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self], 1)


class Residual(nn.Module):
    """Residual connection: shortcut plus branch (He et al. 2016).

    Args:
        branch: changes the map; its last layer has no activation.
        shortcut: layers of the shortcut; null is the identity.
        activation: of the sum; null is none.
        scale: of the branch: 0.1 to 0.3 keep wide networks from dying early (Szegedy et al. 2017).
        drop_path: probability of leaving out the branch in training, for each image, 0..1 (Huang et al. 2016).
    """

    def __init__(
        self,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        activation: str | None = "relu",
        scale: float = 1.0,
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.branch, self.shortcut, self.scale = branch, shortcut or nn.Identity(), scale
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.act = activation_layer(activation)(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        change = self.drop_path(self.branch(x))
        return self.act(self.shortcut(x) + (change if self.scale == 1 else self.scale * change))


def initialize(module: nn.Module, init: Init = "kaiming", std: float = 0.01) -> None:
    """Initialize all convolutions and linear layers in place; biases become 0.

    Args:
        init: `kaiming` keeps the variance of maps through ReLUs (He et al. 2015), `xavier` through layers without them
            (Glorot and Bengio 2010), `gaussian` is the same for all layers (Krizhevsky et al. 2012).
        std: of `gaussian`.

    Raises:
        ConfigError: another name.
    """
    ways = {
        "kaiming": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        "xavier": nn.init.xavier_uniform_,
        "gaussian": partial(nn.init.normal_, std=std),
    }
    if init not in ways:
        raise ConfigError(f"init is {init!r}, but it is one of {', '.join(ways)}")
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            ways[init](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
