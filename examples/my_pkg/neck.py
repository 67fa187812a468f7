"""A neck: as many channels in every map."""

from torch import Tensor, nn

from modules.contracts import Features, Neck


class MyNeck(Neck):
    """1x1 convolutions that give every map the same number of channels.

    Args:
        features: of the backbone.
        channels: of each map.
    """

    def __init__(self, features: Features, channels: int = 64):
        super().__init__()
        self.features = Features([channels] * len(features.strides), features.strides)
        self.convolutions = nn.ModuleList(nn.Conv2d(found, channels, 1) for found in features.channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [convolution(one) for convolution, one in zip(self.convolutions, maps, strict=True)]
