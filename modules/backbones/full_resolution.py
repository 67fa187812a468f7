"""Convolutions without downsampling."""

import torch
from torch import Tensor, nn

from modules.backbones.unet import Stages
from modules.contracts import Backbone, Features, check_sizes
from modules.layers.blocks import ConvNormReLU


class FullResolution(Backbone):
    """3x3 convolutions at the resolution of the image, without downsampling: `--model.backbone full_resolution`.

    The plainest fully convolutional network. All its layers have one output per pixel, so that it is costly on large
    images, and its receptive field, of 2 x depth + 1 pixels, is small. There are no pretrained weights.

    Args:
        in_channels: channels of the images.
        width: channels of each convolution.
        depth: number of convolutions.
        norm: batch norm after each convolution; without it they have biases.
    """

    def __init__(self, in_channels: int = 3, width: int = 32, depth: int = 8, norm: bool = True):
        super().__init__()
        check_sizes("backbone", in_channels=in_channels, width=width, depth=depth)
        self.name, self.in_channels, self.features = "full_resolution", in_channels, Features([width], [1])
        inputs = [in_channels, *[width] * (depth - 1)]
        self.net = Stages([nn.Sequential(*(ConvNormReLU(before, width, norm=norm) for before in inputs))])
        self.register_buffer("mean", torch.full((in_channels,), 0.5))
        self.register_buffer("std", torch.full((in_channels,), 0.25))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [stage(image) for stage in self.net.children()]
