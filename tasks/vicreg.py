"""VICReg: variance-invariance-covariance regularization (Bardes, Ponce and LeCun 2022)."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, check_range
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.decorrelation import vicreg
from tasks.pretraining import ViewPretraining


class VICReg(ViewPretraining):
    """Self-supervised without negatives: equal views, while each dimension varies and none repeats another.

    Variances and covariances are those of the global batch.

    Args:
        head: projection head (expander); only the backbone is kept afterward; null is a Projection of 3 layers.
        embed_dim: size D of the embeddings; a multiple of the backbone's width in the paper.
        invariance_weight: of the squared distance of the views.
        variance_weight: of what the standard deviations of the dimensions lack to 1.
        covariance_weight: of the squared covariances between dimensions.
    """

    protocols: ClassVar[dict[str, str]] = {
        "loss": "weighted sum of invariance, variance and covariance, within batches of one device",
        "invariance": "mean squared distance of two augmented views",
        "variance": "0..1: what the standard deviations of the dimensions lack to 1",
        "covariance": "squared covariances between dimensions over D, of both views",
    }

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 2048,
        invariance_weight: float = 25.0,
        variance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, layers=3), embed_dim=embed_dim, **kwargs)
        self.term_weights = {
            "invariance": invariance_weight,
            "variance": variance_weight,
            "covariance": covariance_weight,
        }
        for name, weight in self.term_weights.items():
            check_range(f"model.{name}_weight", weight)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        first, second = self.global_batch([self(view) for view in batch["views"]])
        terms = vicreg(first, second)
        loss = torch.stack([self.term_weights[name] * term for name, term in terms.items()]).sum()
        return {"loss": loss, "embeddings": torch.cat([first, second])} | terms
