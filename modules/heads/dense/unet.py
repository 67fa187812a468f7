"""The decoder of the U-Net."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from modules.contracts import ConfigError, Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.layers.blocks import Convolution, UpBlock, Upsampling, classifier


class UNet(DenseHead):
    """U-Net decoder: upsampling from the coarsest map, with skip connections to finer ones (Ronneberger et al. 2015).

    On a backbone it is the decoder of segmentation_models.pytorch. The network of the paper is the backbone
    `UNetEncoder` (`norm: false`) with `channels: [512, 256, 128, 64]`, `upsampling: transposed`, `norm: false` and
    `kernel: 1`, but with padded convolutions, so that logits and image have one size.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        channels: width of each step, coarse to fine. The first steps join the finer maps; each further one doubles the
            resolution, as far as that of the image. Null is 256, 128, 64, ... (at least 16), up to the image.
        upsampling: `resize` repeats pixels before the convolution; `transposed` learns to enlarge.
        dropout: share of features set to zero in training before the last convolution, 0..1.
        convolution: of all steps.
        norm: batch norm after each convolution; without it they have biases.
        kernel: of the last convolution, which gives the logits.

    Raises:
        ConfigError: fewer channels than maps to join, or more than there are steps to the image.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        channels: list[int] | None = None,
        upsampling: Upsampling = "resize",
        dropout: float = 0.0,
        convolution: Convolution = "plain",
        norm: bool = True,
        kernel: Literal[1, 3] = 3,
    ):
        super().__init__()
        check_range("head.dropout", dropout, high=1)
        factors = [coarse // fine for fine, coarse in pairwise(features.strides)][::-1]
        joins, stride = len(factors), features.strides[0]
        while stride % 2 == 0:
            factors, stride = [*factors, 2], stride // 2
        widths = _default_widths(len(factors)) if channels is None else channels
        check_sizes("head", **{f"channels[{i}]": width for i, width in enumerate(widths)})
        if not joins <= len(widths) <= len(factors):
            raise ConfigError(
                f"head.channels has {len(widths)} widths, but on maps of strides {features.strides} the U-Net has "
                f"{joins} steps to the finest map and {len(factors)} to the image"
            )
        finer = [*features.channels[-2::-1], *[0] * (len(factors) - joins)]
        inputs = [features.channels[-1], *widths]
        self.steps = nn.ModuleList(
            UpBlock(before, skip, after, factor, upsampling, convolution, norm)
            for before, skip, after, factor in zip(inputs, finer, widths, factors, strict=False)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier(inputs[-1], outputs, kernel)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w): of the finest map's size, doubled by each further step."""
        x, finer = maps[-1], [*maps[-2::-1], *[None] * len(self.steps)]
        for step, skip in zip(self.steps, finer, strict=False):
            x = step(x, skip)
        return self.classifier(self.dropout(x))


def _default_widths(steps: int) -> list[int]:
    return [max(16, 256 // 2**i) for i in range(steps)]
