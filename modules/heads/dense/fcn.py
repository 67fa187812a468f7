"""The fully convolutional network."""

from torch import Tensor, nn

from modules.contracts import Features, check_range, check_sizes
from modules.heads.base import DenseHead
from modules.layers.blocks import ConvNormReLU, Convolution, classifier, resize


class FCN(DenseHead):
    """FCN: class scores of the coarsest map, refined by those of finer ones (Long et al. 2015).

    From the coarsest map alone it is torchvision's FCN; scores are enlarged bilinearly.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C.
        finest: finest stride whose scores are added: 8 is FCN-8s, 16 is FCN-16s, 32 is FCN-32s. Of several maps with
            one stride, as a dilated backbone has them, the deepest counts.
        dropout: share of features set to zero in training, 0..1.
        convolution: of the coarsest map.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        finest: int = 8,
        dropout: float = 0.1,
        convolution: Convolution = "plain",
    ):
        super().__init__()
        check_sizes("head", finest=finest)
        check_range("head.dropout", dropout, high=1)
        width = max(1, features.channels[-1] // 4)
        self.score = nn.Sequential(
            ConvNormReLU(features.channels[-1], width, kind=convolution),
            nn.Dropout(dropout),
            classifier(width, outputs),
        )
        deepest = {stride: level for level, stride in enumerate(features.strides)}
        self.levels = [deepest[s] for s in sorted(deepest, reverse=True) if finest <= s < features.strides[-1]]
        self.skips = nn.ModuleList(nn.Conv2d(features.channels[i], outputs, 1) for i in self.levels)
        for skip in self.skips:  # as in the paper: training starts as FCN-32s
            nn.init.zeros_(skip.weight)
            nn.init.zeros_(skip.bias)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C, h, w) of the size of the finest map used."""
        score = self.score(maps[-1])
        for level, skip in zip(self.levels, self.skips, strict=True):
            score = resize(score, maps[level].shape[-2:]) + skip(maps[level])
        return score
