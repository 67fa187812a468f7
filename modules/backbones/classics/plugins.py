"""Plug-in blocks and attention layers: each takes a map (B, C, h, w) and gives one of the same shape.

timm's and torchvision's where they exist; Maxout, HarD blocks and shuffle units are here.
"""

from collections.abc import Callable
from functools import partial

import torch
from timm.layers import create_attn
from timm.models.densenet import DenseBlock
from timm.models.ghostnet import GhostModule
from torch import Tensor, nn
from torchvision.models.googlenet import Inception
from torchvision.models.squeezenet import Fire

from modules.backbones.classics.blocks import Residual, activation_layer, convolution
from modules.contracts import ConfigError

Layer = Callable[[int, int], nn.Module]


class Maxout(nn.Module):
    """Maxout: the maximum of each `pieces` consecutive channels (Goodfellow et al. 2013, "Maxout networks").

    Args:
        pieces: of the piecewise linear function that a layer before it learns, which has `pieces` times the channels.
        dim: dimension of the channels, 1 or -1.
    """

    def __init__(self, pieces: int = 2, dim: int = 1):
        super().__init__()
        self.pieces, self.dim = pieces, dim

    def forward(self, x: Tensor) -> Tensor:
        """(B, pieces * C, ...) to (B, C, ...), or (B, ..., pieces * C) to (B, ..., C)."""
        return x.unflatten(self.dim, (-1, self.pieces)).amax(2 if self.dim == 1 else -1)


class HarDBlock(nn.Module):
    """HarD block: layer k sees the layers k - 1, k - 2, k - 4, ... while these powers of two divide k; 0 is the input.

    It has growth * factor^n channels, where 2^n is the largest power of two that divides k, rounded to an even number.
    The result is the odd layers and the last one, concatenated.

    Args:
        inputs: channels of the map.
        growth: channels of the odd layers.
        factor: by which each power of two widens a layer; 1.6 to 1.9 in the paper.
        depth: number of layers.
        layer: makes a layer from its inputs and outputs; null takes 3x3 convolution, batch norm and ReLU6.

    Attributes:
        channels: of the result.
    """

    def __init__(self, inputs: int, growth: int, factor: float, depth: int, layer: Layer | None = None):
        super().__init__()
        make = layer or partial(convolution, activation="relu6")
        self.sources = [sources(index) for index in range(1, depth + 1)]
        widths = [inputs, *(_even(growth * factor ** (len(s) - 1)) for s in self.sources)]
        self.layers = nn.ModuleList(
            make(sum(widths[i] for i in s), widths[k]) for k, s in enumerate(self.sources, start=1)
        )
        self.kept = sorted({*range(1, depth + 1, 2), depth})
        self.channels = sum(widths[i] for i in self.kept)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer, sources in zip(self.layers, self.sources, strict=True):
            maps.append(layer(torch.cat([maps[i] for i in sources], 1)))
        return torch.cat([maps[i] for i in self.kept], 1)


def sources(layer: int) -> list[int]:
    """Indices of the layers of a HarD block that layer number 1, 2, ... takes as inputs, the nearest first."""
    return [layer - 2**n for n in range(layer.bit_length()) if layer % 2**n == 0]


class ShuffleUnit(nn.Module):
    """ShuffleNet unit: 1x1 group convolution, channel shuffle, 3x3 depthwise convolution, 1x1 group convolution.

    Added to the input, or with stride 2 concatenated with its average.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        groups: of both 1x1 convolutions.
        stride: 1 or 2.
        first: groups of the first 1x1 convolution, where they differ.
        norm: of the convolutions, by timm's names.
        activation: of the first convolution and of the result, by timm's names.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        groups: int,
        stride: int = 1,
        first: int | None = None,
        norm: str = "batchnorm",
        activation: str = "relu",
    ):
        super().__init__()
        middle, new = outputs // 4, outputs - inputs if stride == 2 else outputs
        self.branch = nn.Sequential(
            convolution(inputs, middle, 1, norm=norm, activation=activation, groups=first or groups),
            nn.ChannelShuffle(groups),
            convolution(middle, middle, 3, stride, norm=norm, activation=None, groups=middle),
            convolution(middle, new, 1, norm=norm, activation=None, groups=groups),
        )
        self.act = activation_layer(activation)(inplace=True)
        self.pool = nn.AvgPool2d(3, 2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        new = self.branch(x)
        return self.act(x + new if self.pool is None else torch.cat([self.pool(x), new], 1))


def plugin(name: str, channels: int) -> nn.Module:
    """A block of `PLUGINS`, or one of timm's attention layers: `se`, `eca`, `cbam`, `gc`, `sk`, `splat`, ...

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return PLUGINS[name](channels) if name in PLUGINS else create_attn(name, channels)
    except AssertionError as error:
        raise ConfigError(
            f"there is no block {name!r}: take {', '.join(PLUGINS)} or an attention layer of timm"
        ) from error


def plug_in(stages: nn.Sequential, widths: list[int], name: str) -> None:
    """Insert a block behind the branch of every residual block, or where there are none behind every stage.

    Args:
        stages: changed in place.
        widths: channels at the end of each stage.
        name: see `plugin`.
    """
    residuals = [module for module in stages.modules() if isinstance(module, Residual)]
    for block in residuals:
        last = [layer for layer in block.branch.modules() if isinstance(layer, nn.Conv2d)][-1]
        block.branch = _extended(block.branch, plugin(name, last.out_channels))
    for index, width in enumerate([] if residuals else widths):
        stages[index] = _extended(stages[index], plugin(name, width))


def _extended(module: nn.Module, last: nn.Module) -> nn.Sequential:
    """Sequence of both modules; tensors keep their names where possible."""
    return (module if isinstance(module, nn.Sequential) else nn.Sequential(module)).append(last)


def _fire(channels: int) -> Fire:
    return Fire(channels, max(1, channels // 8), channels // 2, channels - channels // 2)


def _inception(channels: int) -> Inception:
    """GoogLeNet's shares of 1x1, 3x3, 5x5 and pooled channels."""
    quarter, eighth = channels // 4, max(1, channels // 8)
    rest = channels - quarter - 2 * quarter - eighth
    return Inception(channels, quarter, quarter, 2 * quarter, max(1, channels // 16), eighth, rest)


def _dense(channels: int) -> nn.Sequential:
    growth = max(1, channels // 4)
    return nn.Sequential(DenseBlock(4, channels, 4, growth), convolution(channels + 4 * growth, channels, 1))


def _hard(channels: int) -> nn.Sequential:
    block = HarDBlock(channels, max(2, channels // 8), 1.7, 4)
    return nn.Sequential(block, convolution(block.channels, channels, 1))


def _shuffle(channels: int) -> ShuffleUnit:
    groups = next(groups for groups in (3, 4, 2, 1) if channels // 4 % groups == channels % groups == 0)
    return ShuffleUnit(channels, channels, groups)


def _maxout(channels: int) -> nn.Sequential:
    return nn.Sequential(convolution(channels, 2 * channels, norm=None, activation=None), Maxout(2))


def _residual(channels: int) -> Residual:
    """Its branch scaled by 0.2 (Szegedy et al. 2017)."""
    branch = nn.Sequential(convolution(channels, channels), convolution(channels, channels, activation=None))
    return Residual(branch, scale=0.2)


PLUGINS: dict[str, Callable[[int], nn.Module]] = {
    "dense": _dense,
    "fire": _fire,
    "ghost": lambda channels: GhostModule(channels, channels),
    "hard": _hard,
    "inception": _inception,
    "maxout": _maxout,
    "residual": _residual,
    "shuffle": _shuffle,
}
"""Builders of the blocks, called with the number of channels, 6 or more."""


def _even(width: float) -> int:
    return int(width + 1) // 2 * 2
