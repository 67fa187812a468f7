"""Barlow Twins: self-supervised learning via redundancy reduction (Zbontar et al. 2021)."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, check_range
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.decorrelation import barlow_twins
from tasks.pretraining import ViewPretraining


class BarlowTwins(ViewPretraining):
    """Self-supervised without negatives: bring the cross-correlation of two views' dimensions to the identity.

    The correlation is that of the global batch.

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection of 3 layers.
        embed_dim: size D of the embeddings; a multiple of the backbone's width in the paper.
        redundancy_weight: of the squared correlations between different dimensions; lambda in the paper.
    """

    protocols: ClassVar[dict[str, str]] = {
        "loss": "invariance + weight x redundancy, within batches of one device",
        "invariance": "squared distances to 1 of each dimension's correlation between two augmented views, summed",
        "redundancy": "squared correlations between different dimensions, summed",
    }

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 2048,
        redundancy_weight: float = 0.005,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, layers=3), embed_dim=embed_dim, **kwargs)
        check_range("model.redundancy_weight", redundancy_weight)
        self.redundancy_weight = redundancy_weight

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        first, second = self.global_batch([self(view) for view in batch["views"]])
        terms = barlow_twins(first, second)
        loss = terms["invariance"] + self.redundancy_weight * terms["redundancy"]
        return {"loss": loss, "embeddings": torch.cat([first, second])} | terms
