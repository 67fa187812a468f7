"""The contracting path of the original U-Net."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import Backbone, ConfigError, Features
from modules.layers.blocks import ConvNormReLU


class Stages(nn.ModuleList):
    """Layers of the encoder, with the attributes of timm's networks."""

    pretrained_cfg = {"first_conv": "0.0.0"}

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Layer groups for layer-wise learning-rate decay: stages if `coarse`, else single convolutions."""
        return {"blocks": r"^(\d+)" if coarse else r"^(\d+)\.(\d+)"}


class UNetEncoder(Backbone):
    """Two 3x3 convolutions per stage, max-pool between stages (Ronneberger et al. 2015).

    Starts at the resolution of the image, so it is slow on large ones. With `norm: false`, and the head `UNet` as its
    help says, it is the network of the paper. There are no pretrained weights; those of a run here load as any other's.

    Args:
        in_channels: channels of the images.
        channels: width of each stage; strides are 1, 2, 4, ...
        norm: batch norm after each convolution; without it, as in the paper, they have biases.

    Raises:
        ConfigError: no channels.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: tuple[int, ...] = (64, 128, 256, 512, 1024),
        norm: bool = True,
    ):
        super().__init__()
        if not channels:
            raise ConfigError("backbone.channels is empty, but UNetEncoder needs the width of at least one stage")
        self.name, self.small_images, self.in_channels = "UNetEncoder", False, in_channels
        self.features = Features(list(channels), [2**i for i in range(len(channels))])
        self.net = Stages(
            nn.Sequential(ConvNormReLU(before, after, norm=norm), ConvNormReLU(after, after, norm=norm))
            for before, after in pairwise([in_channels, *channels])
        )
        self.register_buffer("mean", torch.full((in_channels,), 0.5))
        self.register_buffer("std", torch.full((in_channels,), 0.25))

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [self.net[0](image)]
        for stage in self.net[1:]:
            maps.append(stage(functional.max_pool2d(maps[-1], 2)))
        return maps
