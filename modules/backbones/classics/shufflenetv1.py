"""ShuffleNet v1: 1x1 convolutions in groups, and a shuffle that lets the groups meet."""

from functools import partial

from timm.layers import make_divisible
from torch import nn

from modules.backbones.classics.blocks import Init, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.backbones.classics.plugins import ShuffleUnit
from modules.contracts import ConfigError, Features

WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # channels at stride 8 by number of groups: table 1 of the paper


@register
def shufflenetv1(
    groups: int = 3,
    width: float = 1.0,
    num_classes: int = 1000,
    in_chans: int = 3,
    dropout: float = 0.0,
    norm: str = "batchnorm",
    activation: str = "relu",
    init: Init = "kaiming",
) -> Network:
    """Zhang et al. 2018, "ShuffleNet: an extremely efficient convolutional neural network for mobile devices".

    Arguments that all take: see `classics`.

    Args:
        groups: of the 1x1 convolutions: 1, 2, 3, 4 or 8; more groups have more channels for the same work.
        width: multiplies the channels from stride 8 on; the paper has 0.25, 0.5, 1, 1.5 and 2.

    Raises:
        ConfigError: another number of groups, or a width that is not above 0.
    """
    if groups not in WIDTHS or width <= 0:
        raise ConfigError(
            f"shufflenetv1 has {', '.join(map(str, WIDTHS))} groups and a width above 0, not {groups} and {width:g}"
        )
    inputs = 24  # at every width
    layers = {"norm": norm, "activation": activation}
    unit, channels = partial(ShuffleUnit, groups=groups, **layers), [inputs, inputs]
    stages = [convolution(in_chans, inputs, 3, 2, **layers), nn.Identity()]
    for index, repeats in enumerate((4, 8, 4)):
        outputs = make_divisible(2**index * width * WIDTHS[groups], 4 * groups)
        # too few channels go in at first to be split
        first = unit(inputs, outputs, stride=2, first=groups if index else 1)
        stages.append(nn.Sequential(first, *(unit(outputs, outputs) for _ in range(repeats - 1))))
        channels.append(outputs)
        inputs = outputs
    features, size = Features(channels, [2, 4, 8, 16, 32]), (in_chans, 224, 224)
    head, pool = Pooled(inputs, num_classes, dropout), nn.MaxPool2d(3, 2, padding=1)
    net = Network(stages, features, head, maxpool=pool, input_size=size)
    initialize(net, init)
    return net


@register
def shufflenetv1_g1(**options) -> Network:
    """ShuffleNet v1 without groups: 1,531,936 parameters; other options as of `shufflenetv1`, as the next ones."""
    return shufflenetv1(groups=1, **options)


@register
def shufflenetv1_g2(**options) -> Network:
    """ShuffleNet v1 with 2 groups: 1,733,848 parameters."""
    return shufflenetv1(groups=2, **options)


@register
def shufflenetv1_g3(**options) -> Network:
    """ShuffleNet v1 with 3 groups: 1,865,728 parameters, and 0.719, 3.442 and 5.448 million of other widths."""
    return shufflenetv1(groups=3, **options)


@register
def shufflenetv1_g4(**options) -> Network:
    """ShuffleNet v1 with 4 groups: 1,968,344 parameters."""
    return shufflenetv1(groups=4, **options)


@register
def shufflenetv1_g8(**options) -> Network:
    """ShuffleNet v1 with 8 groups: 2,434,768 parameters."""
    return shufflenetv1(groups=8, **options)


@register
def shufflenetv1_g3_050(**options) -> Network:
    """ShuffleNet v1 with 3 groups, half as wide."""
    return shufflenetv1(groups=3, width=0.5, **options)


@register
def shufflenetv1_g3_150(**options) -> Network:
    """ShuffleNet v1 with 3 groups, one and a half times as wide."""
    return shufflenetv1(groups=3, width=1.5, **options)


@register
def shufflenetv1_g3_200(**options) -> Network:
    """ShuffleNet v1 with 3 groups, twice as wide."""
    return shufflenetv1(groups=3, width=2.0, **options)
