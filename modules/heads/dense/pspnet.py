"""The pyramid scene parsing network."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import ConfigError, Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.layers.blocks import ConvNormReLU, Convolution, classifier, resize


class PSPNet(DenseHead):
    """PSPNet: pyramid pooling of the coarsest map over grids of several sizes (Zhao et al. 2017).

    Made for dilated backbones: `output_stride` 8. The paper's loss on the next-to-last stage is the task's.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        bins: cells along each side of each grid.
        channels: width of the last convolution.
        dropout: share of features set to zero in training, 0..1.
        convolution: of the last 3x3 convolution.

    Raises:
        ConfigError: no bins, or one below 1.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        bins: tuple[int, ...] = (1, 2, 3, 6),
        channels: int = 512,
        dropout: float = 0.1,
        convolution: Convolution = "plain",
    ):
        super().__init__()
        check_sizes("head", channels=channels)
        check_range("head.dropout", dropout, high=1)
        if min(bins, default=0) < 1:
            raise ConfigError(f"head.bins is {list(bins)}, but it needs numbers of cells, such as [1, 2, 3, 6]")
        inputs = features.channels[-1]
        width = max(1, inputs // len(bins))
        self.bins = bins
        self.branches = nn.ModuleList(ConvNormReLU(inputs, width, kernel=1) for _ in bins)
        self.refine = ConvNormReLU(inputs + width * len(bins), channels, kind=convolution)
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier(channels, outputs)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the coarsest."""
        x = maps[-1]
        pooled = [
            branch(functional.adaptive_avg_pool2d(x, n)) for n, branch in zip(self.bins, self.branches, strict=True)
        ]
        x = torch.cat([x, *(resize(p, x.shape[-2:]) for p in pooled)], 1)
        return self.classifier(self.dropout(self.refine(x)))
