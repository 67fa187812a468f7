"""Fully connected classification head, as of the first deep classifiers."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import Features, check_range, check_sizes
from modules.heads.classification.linear import Linear


class FullyConnected(Linear):
    """Fully connected layers over all cells of the coarsest map, as in AlexNet, VGG and C3D, with the loss of `Linear`.

    Args:
        features: feature pyramid of the backbone or fusion.
        outputs: number of classes C.
        hidden: widths of the layers before the last one.
        cells: side of the square that the map is pooled to; C3D has 4, VGG 7.
        dropout: behind each hidden layer, 0..1.
        kwargs: as in `Linear`.
    """

    pools = False

    def __init__(
        self,
        features: Features,
        outputs: int,
        hidden: tuple[int, ...] = (4096, 4096),
        cells: int = 4,
        dropout: float = 0.5,
        **kwargs,
    ):
        width = hidden[-1] if hidden else features.channels[-1] * cells**2
        check_sizes("head", cells=cells, **{f"hidden[{i}]": size for i, size in enumerate(hidden)})
        check_range("head.dropout", dropout, high=1)
        super().__init__(Features([width], features.strides[-1:]), outputs, dropout=0.0, **kwargs)
        self.cells = cells
        sizes = pairwise([features.channels[-1] * cells**2, *hidden])
        self.hidden = nn.Sequential(
            *(nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)) for before, after in sizes)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to logits (B, C)."""
        return self.fc(self.hidden(functional.adaptive_avg_pool2d(maps[-1], self.cells).flatten(1)))
