"""LeNet-5: the network that read cheques."""

from typing import Literal

from torch import nn

from modules.backbones.classics.blocks import Init, activation_layer, initialize
from modules.backbones.classics.classifiers import Dense
from modules.backbones.classics.network import Network, register
from modules.contracts import Features


@register
def lenet5(
    num_classes: int = 10,
    in_chans: int = 1,
    activation: str = "tanh",
    pool: Literal["avg", "max"] = "avg",
    init: Init = "xavier",
) -> Network:
    """LeCun et al. 1998, "Gradient-based learning applied to document recognition", for gray images of 32 x 32.

    61,706 parameters. Its third convolution sees all maps of the second, and a linear layer gives the classes, as
    everyone builds it since. That third convolution, fully connected at 32 x 32, gives the last map; the layer of 84
    units behind it makes the pooled features.
    """
    act, pooling = activation_layer(activation), {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}[pool]
    stages = [
        nn.Sequential(nn.Conv2d(in_chans, 6, 5), act()),
        nn.Sequential(pooling(2), nn.Conv2d(6, 16, 5), act()),
        nn.Sequential(pooling(2), nn.Conv2d(16, 120, 5), act()),
    ]
    last = [nn.Conv2d(84, num_classes, 1)] if num_classes else []
    head = Dense(nn.Conv2d(120, 84, 1), act(), *last, classifies=bool(last))
    features, size = Features([6, 16, 120], [1, 2, 4]), (in_chans, 32, 32)
    statistics = {"mean": [0.5] * in_chans, "std": [0.25] * in_chans}
    net = Network(stages, features, head, input_size=size, smallest=32, **statistics)
    initialize(net, init)
    return net
