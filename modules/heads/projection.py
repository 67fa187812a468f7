"""The head of contrastive pretraining; thrown away afterwards."""

from itertools import pairwise

from torch import Tensor, nn

from modules.contracts import Features, Head


class MLP(nn.Sequential):
    """Linear layers with batch norm and ReLU between them.

    Args:
        widths: of the input, of each hidden layer and of the output.
        last_norm: whether the output is batch-normalised too, without learnt scale and shift.
    """

    def __init__(self, *widths: int, last_norm: bool = False):
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            blocks += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU(inplace=True)]
        blocks.append(nn.Linear(*widths[-2:], bias=not last_norm))
        if last_norm:
            blocks.append(nn.BatchNorm1d(widths[-1], affine=False))
        super().__init__(*blocks)


class Projection(Head):
    """Average-pool the coarsest map, then a multi-layer perceptron with batch norm (Chen et al. 2020).

    Args:
        features: what the backbone or neck gives.
        outputs: embedding dimension D.
        hidden: width of the hidden layers; 0 takes the backbone's own width.
        layers: linear layers in all, >= 1.
        last_norm: batch norm, without learnt scale and shift, on the embeddings too (as SimSiam and MoCo v3 have it).
    """

    def __init__(
        self, features: Features, outputs: int = 128, hidden: int = 0, layers: int = 2, last_norm: bool = False
    ):
        super().__init__()
        width = features.channels[-1]
        self.mlp = MLP(width, *[hidden or width] * (layers - 1), outputs, last_norm=last_norm)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps, fine to coarse, to embeddings (B, D), not normalised."""
        return self.mlp(maps[-1].mean((-2, -1)))
