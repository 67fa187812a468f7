"""The head of reconstruction: pixels from the coarsest map."""

from torch import Tensor, nn

from modules.contracts import Features, Head


class Pixels(Head):
    """Every cell of the coarsest map predicts the square of pixels it stands for (Xie et al. 2022, SimMIM).

    As weak a decoder as there is, so that what is needed to draw lies in the backbone.

    Args:
        features: what the backbone or neck gives.
        outputs: channels of the image.
    """

    def __init__(self, features: Features, outputs: int = 3):
        super().__init__()
        stride = features.strides[-1]
        self.layers = nn.Sequential(nn.Conv2d(features.channels[-1], outputs * stride**2, 1), nn.PixelShuffle(stride))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to (B, C, H, W)."""
        return self.layers(maps[-1])
