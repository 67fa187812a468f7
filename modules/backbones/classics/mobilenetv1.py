"""MobileNet v1 of any width and resolution."""

from functools import partial

from torch import nn

from modules.backbones.classics.blocks import Init, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features

STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))  # each but the first begins with stride 2


@register
def mobilenetv1(
    width: float = 1.0,
    resolution: float = 1.0,
    num_classes: int = 1000,
    in_chans: int = 3,
    dropout: float = 0.0,
    norm: str = "batchnorm",
    activation: str = "relu6",
    init: Init = "kaiming",
) -> Network:
    """Howard et al. 2017, "MobileNets: efficient convolutional neural networks for mobile vision applications".

    Thirteen times a 3x3 convolution of each channel and a 1x1 convolution of all; timm's `mobilenetv1_100` for width 1.

    Arguments that all take: see `classics`.

    Args:
        width: multiplies all channels, of which at least 8 stay; the paper has 1, 0.75, 0.5 and 0.25.
        resolution: multiplies the 224 pixels that its images have, to a multiple of 32; the paper has 1, 6/7, 5/7 and
            4/7. It changes no tensor: `--data.image_size` says how large images are.

    Raises:
        ConfigError: a width or resolution that is not above 0.
    """
    if min(width, resolution) <= 0:
        raise ConfigError(f"mobilenetv1 multiplies by a width and a resolution above 0, not {width:g}, {resolution:g}")

    def scaled(channels: int) -> int:
        return max(8, int(channels * width))

    layer = partial(convolution, norm=norm, activation=activation)
    inputs, stages = scaled(32), []
    for index, channels in enumerate(STAGES):
        stage = nn.Sequential()
        for number, outputs in enumerate(map(scaled, channels)):
            stride = 2 if index and not number else 1
            stage.append(nn.Sequential(layer(inputs, inputs, 3, stride, groups=inputs), layer(inputs, outputs, 1)))
            inputs = outputs
        stages.append(stage)
    stages[0].insert(0, layer(in_chans, scaled(32), 3, 2))
    features = Features([scaled(channels[-1]) for channels in STAGES], [2, 4, 8, 16, 32])
    side = max(32, 32 * round(7 * resolution))
    net = Network(stages, features, Pooled(inputs, num_classes, dropout), input_size=(in_chans, side, side))
    initialize(net, init)
    return net


@register
def mobilenetv1_075(**options) -> Network:
    """MobileNet v1 of width 0.75: 2,585,560 parameters; takes the other options of `mobilenetv1`, as the next ones."""
    return mobilenetv1(width=0.75, **options)


@register
def mobilenetv1_050(**options) -> Network:
    """MobileNet v1 of width 0.5: 1,331,592 parameters."""
    return mobilenetv1(width=0.5, **options)


@register
def mobilenetv1_025(**options) -> Network:
    """MobileNet v1 of width 0.25: 470,072 parameters."""
    return mobilenetv1(width=0.25, **options)
