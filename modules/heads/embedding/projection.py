"""Projection head (MLP) of contrastive pretraining; discarded afterward."""

from itertools import pairwise

from torch import Tensor, nn

from modules.contracts import Features, check_range, check_sizes
from modules.heads.base import EmbeddingHead


class MLP(nn.Sequential):
    """Multi-layer perceptron (MLP) with ReLU and optional batch norm between the layers.

    Args:
        widths: of the input, of each hidden layer and of the output.
        last_norm: batch norm of the output too, without learned scale and shift.
        norm: batch norm behind the hidden layers; without it they have biases.
    """

    def __init__(self, *widths: int, last_norm: bool = False, norm: bool = True):
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            norms = [nn.BatchNorm1d(after)] if norm else []
            blocks += [nn.Linear(before, after, bias=not norm), *norms, nn.ReLU(inplace=True)]
        blocks.append(nn.Linear(*widths[-2:], bias=not last_norm))
        if last_norm:
            blocks.append(nn.BatchNorm1d(widths[-1], affine=False))
        super().__init__(*blocks)


class Projection(EmbeddingHead):
    """Projection head: MLP with batch norm on pooled features (Chen et al. 2020).

    Args:
        features: feature pyramid of the backbone.
        outputs: embedding dimension D.
        hidden: width of the hidden layers; 0 takes the backbone's own width.
        layers: linear layers in all, >= 1.
        last_norm: batch norm, without learned scale and shift, on the embeddings too (as SimSiam and MoCo v3 have it).
        norm: batch norm behind the hidden layers; MoCo v2 has none.
    """

    pools = True

    def __init__(
        self,
        features: Features,
        outputs: int = 128,
        hidden: int = 0,
        layers: int = 2,
        last_norm: bool = False,
        norm: bool = True,
    ):
        super().__init__()
        check_sizes("head", outputs=outputs, layers=layers)
        check_range("head.hidden", hidden)
        width = features.pooled
        self.mlp = MLP(width, *[hidden or width] * (layers - 1), outputs, last_norm=last_norm, norm=norm)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (B, features.pooled) to embeddings (B, D), not normalized."""
        return self.mlp(features)
