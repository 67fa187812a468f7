"""The feature pyramid network."""

from typing import Literal

from torch import Tensor
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from modules.contracts import Features, Neck, check_sizes


class FPN(Neck):
    """Feature pyramid network (FPN): top-down pathway from coarse to fine maps (Lin et al. 2017); torchvision's.

    Args:
        features: feature pyramid of the backbone.
        channels: channels of every map of the new pyramid.
        levels: number of input maps, counted from the coarsest: 4 is strides 4 to 32 of most backbones, 3 is 8 to 32. A
            backbone with fewer gives all it has.
        extra: coarser maps on top: `pool` is one, every second pixel of the coarsest (for Faster R-CNN); `p6p7` is two,
            by convolutions with stride 2 from the coarsest (for RetinaNet and FCOS).

    Raises:
        ConfigError: channels or levels below 1.
    """

    def __init__(
        self,
        features: Features,
        channels: int = 256,
        levels: int = 4,
        extra: Literal["none", "pool", "p6p7"] = "none",
    ):
        super().__init__()
        check_sizes("neck", channels=channels, levels=levels)
        inputs, strides = features.channels[-levels:], features.strides[-levels:]
        blocks = {"none": None, "pool": LastLevelMaxPool(), "p6p7": LastLevelP6P7(channels, channels)}
        self.net = FeaturePyramidNetwork(inputs, channels, blocks[extra])
        added = {"none": 0, "pool": 1, "p6p7": 2}[extra]
        strides = [*strides, *(strides[-1] * 2**i for i in range(1, added + 1))]
        self.features = Features([channels] * len(strides), strides)
        self.levels = levels

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps, fine to coarse, to maps of `channels` channels, fine to coarse."""
        return list(self.net({str(i): x for i, x in enumerate(maps[-self.levels :])}).values())
