"""HarDNet: dense connections, thinned out like harmonics for little memory traffic."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops.misc import Conv2dNormActivation

from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import Features

Layer = Callable[[int, int], nn.Module]


class HarDBlock(nn.Module):
    """Layer k sees the layers k - 1, k - 2, k - 4, ... as far as these powers of two divide k; layer 0 is the input.

    It has growth * factor^n channels, where 2^n is the largest power of two that divides k, rounded to an even number.
    The result is the odd layers and the last one, side by side.

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
        make = layer or partial(_convolution, kernel_size=3)
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
    """Which layers of a HarD block layer number 1, 2, ... sees, the nearest first."""
    return [layer - 2**n for n in range(layer.bit_length()) if layer % 2**n == 0]


class Variant(NamedTuple):
    """What differs between HarDNets.

    Args:
        stem: channels of the first two convolutions.
        stages: growth and depth of each block and the channels after it, for each stage.
        factor: see `HarDBlock`.
    """

    stem: tuple[int, int]
    stages: list[list[tuple[int, int, int]]]
    factor: float = 1.7


HARDNET39 = Variant((24, 48), [[(16, 4, 96)], [(20, 16, 320)], [(64, 8, 640)], [(160, 4, 1024)]], 1.6)
HARDNET68 = Variant((32, 64), [[(14, 8, 128)], [(16, 16, 256), (20, 16, 320)], [(40, 16, 640)], [(160, 4, 1024)]])
HARDNET85 = Variant(
    (48, 96),
    [[(24, 8, 192)], [(24, 16, 256), (28, 16, 320)], [(36, 16, 480), (48, 16, 720)], [(256, 4, 1280)]],
)


@register
def hardnet68(num_classes: int = 1000, in_chans: int = 3, dropout: float = 0.1) -> Network:
    """Chao et al. 2019, "HarDNet: a low memory traffic network": 17,565,348 parameters.

    Args:
        num_classes: number of logits.
        in_chans: channels of the pictures.
        dropout: before the classifier.
    """
    return _hardnet(HARDNET68, num_classes, in_chans, dropout)


@register
def hardnet85(num_classes: int = 1000, in_chans: int = 3, dropout: float = 0.2) -> Network:
    """HarDNet-85: 36,670,212 parameters; options as of `hardnet68`, as the next ones."""
    return _hardnet(HARDNET85, num_classes, in_chans, dropout)


@register
def hardnet39ds(num_classes: int = 1000, in_chans: int = 3, dropout: float = 0.05) -> Network:
    """HarDNet-39DS, whose convolutions are separable: 3,488,228 parameters."""
    return _hardnet(HARDNET39, num_classes, in_chans, dropout, separable=True)


@register
def hardnet68ds(num_classes: int = 1000, in_chans: int = 3, dropout: float = 0.05) -> Network:
    """HarDNet-68DS, whose convolutions are separable: 4,180,602 parameters."""
    return _hardnet(HARDNET68, num_classes, in_chans, dropout, separable=True)


def _hardnet(variant: Variant, num_classes: int, in_chans: int, dropout: float, separable: bool = False) -> Network:
    layer = _separable if separable else partial(_convolution, kernel_size=3)
    first, inputs = variant.stem
    stem = [
        _convolution(in_chans, first, kernel_size=3, stride=2),
        _convolution(first, inputs, kernel_size=1 if separable else 3),
    ]
    stages = [nn.Sequential(*stem)]
    for index, blocks in enumerate(variant.stages):
        stage = nn.Sequential()
        if separable:  # in the place of pooling
            stage.append(_each(inputs, stride=2))
        elif index:
            stage.append(nn.MaxPool2d(2))
        for growth, depth, outputs in blocks:
            block = HarDBlock(inputs, growth, variant.factor, depth, layer)
            stage.extend([block, _convolution(block.channels, outputs, kernel_size=1)])
            inputs = outputs
        stages.append(stage)
    channels = [variant.stem[-1], *(blocks[-1][-1] for blocks in variant.stages)]
    features, head = Features(channels, [2, 4, 8, 16, 32]), Pooled(inputs, num_classes, dropout)
    pool = None if separable else nn.MaxPool2d(3, 2, padding=1)
    return Network(stages, features, head, maxpool=pool, input_size=(in_chans, 224, 224))


_convolution = partial(Conv2dNormActivation, activation_layer=nn.ReLU6)


def _each(channels: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution of each channel."""
    return Conv2dNormActivation(channels, channels, 3, stride, groups=channels, activation_layer=None)


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_convolution(inputs, outputs, kernel_size=1), _each(outputs))


def _even(width: float) -> int:
    return int(width + 1) // 2 * 2
