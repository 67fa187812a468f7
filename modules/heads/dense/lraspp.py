"""LR-ASPP, the segmentation head of MobileNetV3."""

from torch import Tensor, nn

from modules.contracts import Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.heads.dense.low_level import low_level
from modules.layers.blocks import ConvNormReLU, classifier, resize


class LRASPP(DenseHead):
    """The coarsest map, gated by its mean, and a finer one, each with a classifier (Howard et al. 2019); torchvision's.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        channels: width to which the coarsest map is reduced.
        low_stride: stride of the finer map; the nearest that the pyramid has.
        dropout: share of the gated features set to zero in training, 0..1.

    Raises:
        ConfigError: a pyramid of a single map.
    """

    def __init__(
        self, features: Features, outputs: int, channels: int = 128, low_stride: int = 8, dropout: float = 0.0
    ):
        super().__init__()
        check_sizes("head", channels=channels, low_stride=low_stride)
        check_range("head.dropout", dropout, high=1)
        self.level = low_level(features, low_stride, "LRASPP")
        self.reduce = ConvNormReLU(features.channels[-1], channels, kernel=1)
        self.gate = nn.Conv2d(features.channels[-1], channels, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.low = classifier(features.channels[self.level], outputs)
        self.high = classifier(channels, outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the finer map."""
        low, high = maps[self.level], maps[-1]
        gate = self.gate(high.mean((-2, -1), keepdim=True)).sigmoid()
        x = self.dropout(self.reduce(high) * gate)
        return self.low(low) + self.high(resize(x, low.shape[-2:]))
