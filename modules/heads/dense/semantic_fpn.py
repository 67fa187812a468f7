"""The semantic branch of the panoptic feature pyramid."""

from math import gcd, log2

import torch
from torch import Tensor, nn

from modules.contracts import Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.layers.blocks import Convolution, classifier, convolution, resize


class SemanticFPN(DenseHead):
    """Semantic FPN: upsamples every map to the size of the finest, step by step, and adds them (Kirillov et al. 2019).

    Made to stand on the neck `FPN`, which hands what coarse maps know down to the fine ones. All maps are used: on a
    backbone alone, those of stride 2 cost most of the time.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        channels: width of all steps.
        dropout: share of features set to zero in training, 0..1.
        convolution: of all steps.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        channels: int = 128,
        dropout: float = 0.1,
        convolution: Convolution = "plain",
    ):
        super().__init__()
        check_sizes("head", channels=channels)
        check_range("head.dropout", dropout, high=1)
        steps = [max(1, round(log2(stride / features.strides[0]))) for stride in features.strides]
        self.scales = nn.ModuleList(
            nn.ModuleList(_step(channels if i else inputs, channels, convolution) for i in range(count))
            for inputs, count in zip(features.channels, steps, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.classifier = classifier(channels, outputs)
        with torch.no_grad():
            self.classifier.weight /= len(self.scales)  # a sum of maps comes in

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the finest."""
        size = maps[0].shape[-2:]
        x = sum(self._enlarge(x, steps, size) for x, steps in zip(maps, self.scales, strict=True))
        return self.classifier(self.dropout(x))

    def _enlarge(self, x: Tensor, steps: nn.ModuleList, size: tuple[int, int]) -> Tensor:
        for left in reversed(range(len(steps))):
            x = steps[len(steps) - 1 - left](x)
            x = resize(x, size if left == 0 else tuple(2 * side for side in x.shape[-2:]))
        return x


def _step(inputs: int, outputs: int, kind: Convolution) -> nn.Sequential:
    layers = convolution(inputs, outputs, kind=kind), nn.GroupNorm(gcd(32, outputs), outputs), nn.ReLU(inplace=True)
    return nn.Sequential(*layers)
