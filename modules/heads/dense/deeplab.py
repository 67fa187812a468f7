"""DeepLab: parallel dilated (atrous) convolutions at several rates (ASPP)."""

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.heads.dense.low_level import low_level
from modules.layers.blocks import ConvNormReLU, Convolution, classifier, resize


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (ASPP): parallel dilated convolutions of one map (Chen et al. 2017).

    Args:
        inputs: channels of the map.
        outputs: channels of each branch and of the result.
        rates: dilations of the 3x3 branches, next to one of 1x1.
        image_pooling: a branch that sees the mean of the whole map.
        dropout: share of the result set to zero in training, 0..1.
        kind: of the 3x3 convolutions.
    """

    def __init__(
        self, inputs: int, outputs: int, rates: list[int], image_pooling: bool, dropout: float, kind: Convolution
    ):
        super().__init__()
        check_range("head.dropout", dropout, high=1)
        self.branches = nn.ModuleList([ConvNormReLU(inputs, outputs, kernel=1)])
        self.branches.extend(ConvNormReLU(inputs, outputs, dilation=rate, kind=kind) for rate in rates)
        self.pooled = ConvNormReLU(inputs, outputs, kernel=1) if image_pooling else None
        branches = len(rates) + 1 + image_pooling
        self.project = nn.Sequential(ConvNormReLU(branches * outputs, outputs, kernel=1), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h, w)."""
        seen = [branch(x) for branch in self.branches]
        if self.pooled is not None:
            seen.append(self.pooled(x.mean((-2, -1), keepdim=True)).expand_as(seen[0]))
        return self.project(torch.cat(seen, 1))


class DeepLabV3(DenseHead):
    """ASPP on the coarsest map (Chen et al. 2017, Rethinking Atrous Convolution); torchvision's, except for `dropout`.

    Made for dilated backbones: `output_stride` 8 or 16.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        rates: dilations; null spans the paper's 96, 192 and 288 pixels: 12, 24, 36 at stride 8, 6, 12, 18 at stride 16.
        channels: width of each branch.
        image_pooling: a branch that sees the mean of the whole map.
        dropout: share of features set to zero in training, 0..1.
        convolution: of the 3x3 convolutions.

    Raises:
        ConfigError: a rate below 1.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        rates: list[int] | None = None,
        channels: int = 256,
        image_pooling: bool = True,
        dropout: float = 0.1,
        convolution: Convolution = "plain",
    ):
        super().__init__()
        check_sizes("head", channels=channels)
        rates = _rates(rates, features)
        self.aspp = ASPP(features.channels[-1], channels, rates, image_pooling, dropout, convolution)
        self.refine = ConvNormReLU(channels, channels, kind=convolution)
        self.classifier = classifier(channels, outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the coarsest."""
        return self.classifier(self.refine(self.aspp(maps[-1])))


class DeepLabV3Plus(DenseHead):
    """ASPP on the coarsest map, sharpened by a fine one (Chen et al. 2018, Encoder-Decoder with Atrous Convolution).

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        rates: dilations; null spans the paper's 96, 192 and 288 pixels: 12, 24, 36 at stride 8, 6, 12, 18 at stride 16.
        channels: width of each branch and of the decoder.
        low_channels: width to which the fine map is reduced.
        low_stride: stride of the fine map; the nearest that the pyramid has.
        image_pooling: a branch that sees the mean of the whole map.
        dropout: share of ASPP's features set to zero in training, 0..1.
        convolution: of the 3x3 convolutions.

    Raises:
        ConfigError: a rate below 1, or a pyramid of a single map.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        rates: list[int] | None = None,
        channels: int = 256,
        low_channels: int = 48,
        low_stride: int = 4,
        image_pooling: bool = True,
        dropout: float = 0.1,
        convolution: Convolution = "separable",
    ):
        super().__init__()
        check_sizes("head", channels=channels, low_channels=low_channels, low_stride=low_stride)
        rates = _rates(rates, features)
        self.level = low_level(features, low_stride, "DeepLabV3Plus")
        self.aspp = ASPP(features.channels[-1], channels, rates, image_pooling, dropout, convolution)
        self.reduce = ConvNormReLU(features.channels[self.level], low_channels, kernel=1)
        self.refine = nn.Sequential(
            ConvNormReLU(channels + low_channels, channels, kind=convolution),
            ConvNormReLU(channels, channels, kind=convolution),
        )
        self.classifier = classifier(channels, outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the fine map."""
        low = self.reduce(maps[self.level])
        x = resize(self.aspp(maps[-1]), low.shape[-2:])
        return self.classifier(self.refine(torch.cat([x, low], 1)))


def _rates(rates: list[int] | None, features: Features) -> list[int]:
    if rates is None:
        return [max(1, pixels // features.strides[-1]) for pixels in (96, 192, 288)]
    if min(rates, default=1) < 1:
        raise ConfigError(f"head.rates is {rates}, but a dilation is at least 1")
    return rates
