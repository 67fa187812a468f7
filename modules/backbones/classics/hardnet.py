"""HarDNet: dense connections, thinned out like harmonics for little memory traffic."""

from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from modules.backbones.classics.blocks import Init, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.backbones.classics.plugins import HarDBlock
from modules.contracts import ConfigError, Features


class Variant(NamedTuple):
    """Configuration of a HarDNet variant.

    Args:
        stem: channels of the first two convolutions.
        stages: for each stage, the growth and depth of its blocks and the channels after each.
        factor: see `HarDBlock`.
        dropout: probability before the classifier.
    """

    stem: tuple[int, int]
    stages: list[list[tuple[int, int, int]]]
    factor: float
    dropout: float


SMALL = [[(16, 4, 96)], [(20, 16, 320)], [(64, 8, 640)], [(160, 4, 1024)]]
MIDDLE = [[(14, 8, 128)], [(16, 16, 256), (20, 16, 320)], [(40, 16, 640)], [(160, 4, 1024)]]
LARGE = [[(24, 8, 192)], [(24, 16, 256), (28, 16, 320)], [(36, 16, 480), (48, 16, 720)], [(256, 4, 1280)]]
VARIANTS = {
    "39ds": Variant((24, 48), SMALL, 1.6, 0.05),
    "68ds": Variant((32, 64), MIDDLE, 1.7, 0.05),
    "68": Variant((32, 64), MIDDLE, 1.7, 0.1),
    "85": Variant((48, 96), LARGE, 1.7, 0.2),
}


@register
def hardnet(
    variant: Literal["39ds", "68ds", "68", "85"] = "68",
    num_classes: int = 1000,
    in_chans: int = 3,
    dropout: float | None = None,
    norm: str = "batchnorm",
    activation: str = "relu6",
    init: Init = "kaiming",
) -> Network:
    """Chao et al. 2019, "HarDNet: a low memory traffic network".

    Arguments that all take: see `classics`.

    Args:
        variant: number of layers; in those with `ds` a 1x1 convolution and a 3x3 one of each channel stand for each 3x3
            convolution, and 3x3 ones with stride 2 for max-pooling.
        dropout: before the classifier; null is the authors'.

    Raises:
        ConfigError: another variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"there is no HarDNet {variant!r}, but {', '.join(VARIANTS)}")
    (first, inputs), blocks_of, factor, published = VARIANTS[variant]
    separable, layer = variant.endswith("ds"), partial(convolution, norm=norm, activation=activation)
    each = partial(convolution, norm=norm, activation=None)

    def separated(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(layer(before, after, 1), each(after, after, groups=after))

    stages = [nn.Sequential(layer(in_chans, first, 3, 2), layer(first, inputs, 1 if separable else 3))]
    for index, blocks in enumerate(blocks_of):
        stage = nn.Sequential()
        if separable:
            stage.append(each(inputs, inputs, stride=2, groups=inputs))
        elif index:
            stage.append(nn.MaxPool2d(2))
        for growth, depth, outputs in blocks:
            block = HarDBlock(inputs, growth, factor, depth, separated if separable else layer)
            stage.extend([block, layer(block.channels, outputs, 1)])
            inputs = outputs
        stages.append(stage)
    channels = [VARIANTS[variant].stem[-1], *(blocks[-1][-1] for blocks in blocks_of)]
    pool = None if separable else nn.MaxPool2d(3, 2, padding=1)
    head = Pooled(inputs, num_classes, published if dropout is None else dropout)
    net = Network(stages, Features(channels, [2, 4, 8, 16, 32]), head, maxpool=pool, input_size=(in_chans, 224, 224))
    initialize(net, init)
    return net


@register
def hardnet39ds(**options) -> Network:
    """HarDNet-39DS: 3,488,228 parameters; takes the other options of `hardnet`, as the next ones."""
    return hardnet(variant="39ds", **options)


@register
def hardnet68ds(**options) -> Network:
    """HarDNet-68DS: 4,180,602 parameters."""
    return hardnet(variant="68ds", **options)


@register
def hardnet68(**options) -> Network:
    """HarDNet-68: 17,565,348 parameters."""
    return hardnet(variant="68", **options)


@register
def hardnet85(**options) -> Network:
    """HarDNet-85: 36,670,212 parameters."""
    return hardnet(variant="85", **options)
