"""EffNet: separable convolutions, and pooling in one direction at a time."""

from functools import partial

from torch import nn

from modules.backbones.classics.blocks import Init, activation_layer, initialize, norm_layer
from modules.backbones.classics.classifiers import Dense
from modules.backbones.classics.network import Network, register
from modules.contracts import Features


class EffBlock(nn.Sequential):
    """1x1, 1x3 of each channel, max-pool of rows, 3x1 of each channel, 2x1 with a stride over columns.

    A leaky ReLU and then batch norm follow each convolution, as in the authors' code.

    Args:
        inputs: channels of the map.
        middle: channels between.
        outputs: channels of the result, of half the height and width.
        norm: see `effnet`.
        activation: see `effnet`.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, norm: str = "batchnorm", activation: str = "leaky_relu"):
        layer = partial(_convolution, norm=norm, activation=activation)
        each = partial(layer, middle, middle, groups=middle)
        super().__init__(
            layer(inputs, middle, kernel_size=1),
            each(kernel_size=(1, 3), padding=(0, 1)),
            nn.MaxPool2d((2, 1)),
            each(kernel_size=(3, 1), padding=(1, 0)),
            nn.ZeroPad2d((0, 0, 0, 1)),  # below, where the kernel of two rows would stick out
            layer(middle, outputs, kernel_size=(2, 1), stride=(1, 2)),
        )


@register
def effnet(
    widths: tuple[int, ...] = (64, 128, 256),
    num_classes: int = 10,
    in_chans: int = 3,
    norm: str = "batchnorm",
    activation: str = "leaky_relu",
    init: Init = "kaiming",
) -> Network:
    """Freeman et al. 2018, "EffNet: an efficient structure for convolutional neural networks", for 32 x 32 pixels.

    151,146 parameters for CIFAR-10, of which 40,970 are in the classifier, which sees 4 x 4 cells.

    Arguments that all take: see `classics`.

    Args:
        widths: channels after each block, half of which are between in the first one.
        activation: of all convolutions, by timm's names; `leaky_relu` has the paper's slope of 0.3.
    """
    stages, inputs = [], in_chans
    for outputs in widths:
        stages.append(EffBlock(inputs, inputs if stages else outputs // 2, outputs, norm, activation))
        inputs = outputs
    features = Features(list(widths), [2 ** (index + 1) for index in range(len(widths))])
    head = Dense(nn.Conv2d(inputs, num_classes, 4)) if num_classes else None
    net = Network(stages, features, head, input_size=(in_chans, 32, 32))
    initialize(net, init)
    return net


def _convolution(inputs: int, outputs: int, norm: str, activation: str, **options) -> nn.Sequential:
    slope = {"negative_slope": 0.3} if activation == "leaky_relu" else {}
    act, normed = activation_layer(activation)(inplace=True, **slope), norm_layer(norm)
    conv = nn.Conv2d(inputs, outputs, bias=normed is None, **options)
    return nn.Sequential(conv, act, *([normed(outputs)] if normed else []))
