"""Reconstruction head of masked image modeling: pixels from the coarsest map."""

from torch import Tensor, nn

from modules.contracts import Features, check_sizes
from modules.heads.base import DenseHead


class Pixels(DenseHead):
    """Reconstruction head: each cell of the coarsest map predicts its patch of pixels (Xie et al. 2022, SimMIM).

    A linear decoder, as weak as possible, so that the information for reconstruction lies in the backbone.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: channels of the image.
    """

    def __init__(self, features: Features, outputs: int = 3):
        super().__init__()
        check_sizes("head", outputs=outputs)
        stride = features.strides[-1]
        self.layers = nn.Sequential(nn.Conv2d(features.channels[-1], outputs * stride**2, 1), nn.PixelShuffle(stride))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to (B, C, H, W)."""
        return self.layers(maps[-1])
