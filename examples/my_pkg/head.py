"""A head: a classifier of two layers."""

from torch import Tensor, nn

from modules.contracts import Features
from modules.heads.base import ClassificationHead


class MyHead(ClassificationHead):
    """Two linear layers with dropout in between, on pooled features.

    Args:
        features: of the backbone.
        outputs: number of classes.
        hidden: width between the layers.
        dropout: share of the hidden units that are set to 0 in training, [0, 1).
    """

    pools = True

    def __init__(self, features: Features, outputs: int, hidden: int = 64, dropout: float = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features.pooled, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, features.pooled) to logits (B, outputs)."""
        return self.layers(pooled)
