"""A backbone: three convolutions."""

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, Features


class MyNet(Backbone):
    """Three convolutions of stride 2: maps of strides 4 and 8.

    Args:
        width: channels of the first map; the second has twice as many.
    """

    def __init__(self, width: int = 32):
        super().__init__()
        self.net = nn.Sequential(_conv(3, width), _conv(width, width), _conv(width, 2 * width))
        self.features = Features(channels=[width, 2 * width], strides=[4, 8])
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.25))

    def forward(self, image: Tensor) -> list[Tensor]:
        fine = self.net[1](self.net[0](image))
        return [fine, self.net[2](fine)]


def _conv(inputs: int, outputs: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
