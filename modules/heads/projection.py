"""The head of contrastive pretraining; thrown away afterwards."""

from itertools import pairwise

from torch import Tensor, nn

from modules.contracts import Features, Head


class Projection(Head):
    """Average-pool the coarsest map, then a multi-layer perceptron with batch norm (Chen et al. 2020).

    Args:
        features: what the backbone or neck gives.
        outputs: embedding dimension D.
        hidden: width of the hidden layers; 0 takes the backbone's own width.
        layers: linear layers in all, >= 1.
    """

    def __init__(self, features: Features, outputs: int = 128, hidden: int = 0, layers: int = 2):
        super().__init__()
        width = hidden or features.channels[-1]
        widths = [features.channels[-1], *[width] * (layers - 1)]
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        self.mlp = nn.Sequential(*blocks, nn.Linear(widths[-1], outputs))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to embeddings (B, D), not normalised."""
        return self.mlp(maps[-1].mean((-2, -1)))
