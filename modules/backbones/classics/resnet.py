"""ResNets of the first paper: the stride in the first convolution of a block, all ways around blocks, and none."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.blocks import Init, Residual, activation_layer, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features

Shortcut = Literal["A", "B", "C", "none"]


@register
def resnet50_v1(**options) -> Network:
    """25,557,032 parameters, 3.86 GMACs at 224 x 224 (timm's `resnet50`, v1.5, has 4.09). Options as of `resnet`."""
    return resnet((3, 4, 6, 3), bottleneck=True, **options)


@register
def resnet101_v1(**options) -> Network:
    """44,549,160 parameters. Options as of `resnet`."""
    return resnet((3, 4, 23, 3), bottleneck=True, **options)


@register
def resnet152_v1(**options) -> Network:
    """60,192,808 parameters. Options as of `resnet`."""
    return resnet((3, 8, 36, 3), bottleneck=True, **options)


@register
def resnet18_a(**options) -> Network:
    """ResNet-18 whose shortcuts have no parameters (option A). Options as of `resnet`."""
    return resnet((2, 2, 2, 2), shortcut="A", **options)


@register
def resnet34_a(**options) -> Network:
    """ResNet-34 whose shortcuts have no parameters (option A). Options as of `resnet`."""
    return resnet((3, 4, 6, 3), shortcut="A", **options)


@register
def resnet34_c(**options) -> Network:
    """ResNet-34 with a projection past every block (option C); B is timm's `resnet34`. Options as of `resnet`."""
    return resnet((3, 4, 6, 3), shortcut="C", **options)


@register
def plain18(**options) -> Network:
    """ResNet-18 without shortcuts, which the paper compares with. Options as of `resnet`."""
    return resnet((2, 2, 2, 2), shortcut="none", **options)


@register
def plain34(**options) -> Network:
    """ResNet-34 without shortcuts, which trains worse than `plain18`. Options as of `resnet`."""
    return resnet((3, 4, 6, 3), shortcut="none", **options)


def resnet(
    depths: tuple[int, int, int, int],
    bottleneck: bool = False,
    shortcut: Shortcut = "B",
    num_classes: int = 1000,
    in_chans: int = 3,
    norm: str = "batchnorm",
    activation: str = "relu",
    init: Init = "kaiming",
    drop_path_rate: float = 0.0,
    output_stride: Literal[8, 16, 32] = 32,
    width: int = 64,
) -> Network:
    """Four stages of residual blocks (He et al. 2016, "Deep residual learning for image recognition").

    Args:
        depths: blocks of each stage.
        bottleneck: blocks of 1x1, 3x3 and 1x1 convolutions in place of two of 3x3. The first of a stage has its stride
            in the first 1x1, as in the paper; timm's and torchvision's have it in the 3x3 ("v1.5").
        shortcut: past the first block of a stage: `A` takes every second pixel and pads the channels with zeros, `B`
            projects; `C` projects past all blocks; `none` has no shortcuts at all.
        num_classes: 0 for none.
        in_chans: channels of the images.
        norm: by timm's name.
        activation: by timm's name.
        init: see `initialize`.
        drop_path_rate: probability of leaving out the last block in training, falling to 0 at the first, 0..1.
        output_stride: 8 or 16 for dilation in place of the last strides.
        width: channels of the first stage; blocks of three convolutions give 4 times as many.

    Raises:
        ConfigError: drop_path_rate without shortcuts, or a shortcut that is none of these.
    """
    if shortcut not in ("A", "B", "C", "none"):
        raise ConfigError(f"shortcut is {shortcut!r}, but it is A, B, C or none")
    if drop_path_rate and shortcut == "none":
        raise ConfigError("a plain network has no blocks to leave out: set drop_path to 0")
    block = Block(partial(convolution, norm=norm, activation=activation), bottleneck, shortcut, activation)
    rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
    stages, channels, strides, inputs = [nn.Sequential(block.layer(in_chans, width, 7, 2))], [width], [2], width
    stride, dilation = 4, 1
    for index, depth in enumerate(depths):
        first, before = stride, dilation
        stride = min(4 * 2**index, output_stride)
        dilation = 4 * 2**index // stride
        blocks = []
        for step, inner in [(stride // first, before), *[(1, dilation)] * (depth - 1)]:
            blocks.append(block(inputs, width * 2**index, step, inner, dilation, next(rates)))
            inputs = width * 2**index * (4 if bottleneck else 1)
        stages.append(nn.Sequential(*blocks))
        channels, strides = [*channels, inputs], [*strides, stride]
    pool, size = nn.MaxPool2d(3, 2, padding=1), (in_chans, 224, 224)
    net = Network(stages, Features(channels, strides), Pooled(inputs, num_classes), pool, input_size=size)
    initialize(net, init)
    return net


class Block(NamedTuple):
    """Makes the blocks of one network: see `resnet`; `layer` makes its convolutions."""

    layer: Callable[..., nn.Module]
    bottleneck: bool
    shortcut: Shortcut
    activation: str

    def __call__(self, inputs: int, width: int, stride: int, before: int, dilation: int, drop_path: float) -> nn.Module:
        """One of them; `before` is the dilation of the map that comes in, `dilation` that of the one that goes out."""
        outputs = 4 * width if self.bottleneck else width
        if self.bottleneck:
            layers = [self.layer(inputs, width, 1, stride), self.layer(width, width, dilation=dilation)]
        else:
            layers = [self.layer(inputs, width, 3, stride, dilation=before)]
        kernel, inner = (1, 1) if self.bottleneck else (3, dilation)
        branch = nn.Sequential(*layers, self.layer(width, outputs, kernel, dilation=inner, activation=None))
        if self.shortcut == "none":
            return nn.Sequential(branch, activation_layer(self.activation)(inplace=True))
        return Residual(branch, self._around(inputs, outputs, stride), self.activation, drop_path=drop_path)

    def _around(self, inputs: int, outputs: int, stride: int) -> nn.Module | None:
        if self.shortcut != "C" and inputs == outputs and stride == 1:
            return None
        if self.shortcut == "A":
            return ZeroPad(outputs, stride)
        return self.layer(inputs, outputs, 1, stride, activation=None)


class ZeroPad(nn.Module):
    """Every `stride`-th pixel of a map, and zeros for the channels that it lacks."""

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))
