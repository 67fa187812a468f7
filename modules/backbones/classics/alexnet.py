"""AlexNet: the network with which deep learning won ImageNet."""

from functools import partial

from torch import nn

from modules.backbones.classics.blocks import Init, convolution, initialize, response_norm
from modules.backbones.classics.classifiers import fully_connected
from modules.backbones.classics.network import Network, register
from modules.contracts import Features


@register
def alexnet_towers(**options) -> Network:
    """As published, for 224 x 224 pixels and 1,000 classes: 60,965,224 parameters.

    The two towers, one for each GPU then, are groups: they see each other in the third convolution and in the fully
    connected layers only. Options are those of `alexnet`.
    """
    return alexnet((96, 256, 384, 384, 256), groups=2, hidden=4096, **options)


@register
def alexnet_half(**options) -> Network:
    """One tower alone, half of all filters and hidden units: 16,630,440 parameters. Options as of `alexnet_towers`."""
    return alexnet((48, 128, 192, 192, 128), hidden=2048, **options)


@register
def alexnet_half_pool3(**options) -> Network:
    """`alexnet_half` with pools that do not overlap: 8,241,832 parameters, as the last map has but 2 x 2 cells."""
    return alexnet((48, 128, 192, 192, 128), hidden=2048, pool_stride=3, **options)


def alexnet(
    widths: tuple[int, int, int, int, int],
    hidden: int,
    groups: int = 1,
    pool_stride: int = 2,
    num_classes: int = 1000,
    in_chans: int = 3,
    norm: str = "lrn",
    activation: str = "relu",
    init: Init = "gaussian",
) -> Network:
    """AlexNet: five convolutions and three fully connected layers.

    Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks".

    Args:
        widths: channels of each convolution.
        hidden: units of each hidden fully connected layer.
        groups: towers, in all convolutions but the first and third.
        pool_stride: of the three max-pools of 3 x 3; 2 or 3.
        num_classes: 0 leaves out the last fully connected layer.
        in_chans: channels of the images.
        norm: `lrn` normalizes each place across channels behind the first two convolutions, `none` does not, and a norm
            of timm's, such as `batchnorm`, goes into every convolution.
        activation: behind all layers but the last, by timm's name.
        init: `gaussian` is the paper's, with biases of 1 to wake the ReLUs.
    """
    one, two, three, four, five = widths
    across = partial(response_norm, alpha=1e-4 * 5, k=2.0)  # torch divides alpha by the 5 channels
    layer = {"norm": "none" if norm == "lrn" else norm, "activation": activation}
    stages = [
        nn.Sequential(convolution(in_chans, one, 11, 4, 2, **layer), *across(norm)),
        nn.Sequential(nn.MaxPool2d(3, pool_stride), convolution(one, two, 5, groups=groups, **layer), *across(norm)),
        nn.Sequential(
            nn.MaxPool2d(3, pool_stride),
            convolution(two, three, **layer),
            convolution(three, four, groups=groups, **layer),
            convolution(four, five, groups=groups, **layer),
        ),
        nn.MaxPool2d(3, pool_stride),
    ]
    cells, smallest = {2: (6, 63), 3: (2, 111)}[pool_stride]
    head = fully_connected(five, cells, hidden, num_classes, activation)
    features = Features([one, two, five, five], [4 * pool_stride**i for i in range(4)])
    net = Network(stages, features, head, input_size=(in_chans, 224, 224), smallest=smallest)
    initialize(net, init)
    if init == "gaussian":
        for unit in (net.stages[1][1], *net.stages[2][2:], *net.head.children()):
            if isinstance(unit, nn.Sequential) and unit[0].bias is not None:
                nn.init.ones_(unit[0].bias)
    return net
