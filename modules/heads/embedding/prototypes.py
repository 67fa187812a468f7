"""Prototype head of self-distillation (DINO): similarities to learned prototypes."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from modules.contracts import Features, check_sizes
from modules.heads.base import PrototypeHead


class Prototypes(PrototypeHead):
    """DINO head: MLP on pooled features, normalized bottleneck, cosine similarities to prototypes (Caron et al. 2021).

    Args:
        features: feature pyramid of the backbone.
        outputs: number of prototypes K.
        hidden: width of the hidden layers.
        bottleneck: dimension in which embeddings and prototypes are compared.
        layers: linear layers before the prototypes, >= 1.
        norm: batch norm after each hidden layer, which helps convolutional backbones.
        last_norm: batch norm, without learned scale and shift, on the bottleneck too, before it is normalized: from the
            first step on, embeddings point everywhere.
    """

    pools = True

    def __init__(
        self,
        features: Features,
        outputs: int,
        hidden: int = 2048,
        bottleneck: int = 256,
        layers: int = 3,
        norm: bool = False,
        last_norm: bool = False,
    ):
        super().__init__()
        check_sizes("head", outputs=outputs, hidden=hidden, bottleneck=bottleneck, layers=layers)
        widths = [features.pooled, *[hidden] * (layers - 1)]
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [nn.Linear(before, after), *[nn.BatchNorm1d(after)] * norm, nn.GELU()]
        blocks.append(nn.Linear(widths[-1], bottleneck))
        self.mlp = nn.Sequential(*blocks, *[nn.BatchNorm1d(bottleneck, affine=False)] * last_norm)
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last = nn.Linear(bottleneck, outputs, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (B, features.pooled) to cosines (B, K)."""
        embedding = normalize(self.mlp(features), dim=1)
        return linear(embedding, normalize(self.last.weight, dim=1).to(embedding))
