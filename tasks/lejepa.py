"""LeJEPA: joint-embedding prediction with embeddings that are isotropic Gaussian (Balestriero and LeCun 2025)."""

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from modules.contracts import Batch, check_range
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.decorrelation import sigreg
from tasks.pretraining import ViewPretraining, positive


class LeJEPA(ViewPretraining):
    """Self-supervised without negatives, teacher or stop-gradient: equal views, normally distributed embeddings.

    All views come close to the mean of the `data.views` global ones, the `data.local_views` too (multi-crop). The
    distribution is that of the global batch, tested along random directions, others in each step (SIGReg). This
    statistic grows with the batch size, unless the embeddings are normal, and so does its share of the loss.

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection of 3 layers.
        embed_dim: size D of the embeddings.
        directions: number of random directions.
        sigreg_weight: of the test, 0..1; the distance between the views has the rest. Lambda in the paper. In larger
            batches a smaller one does as much.
    """

    views = (2, 100)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "weight x sigreg + (1 - weight) x invariance, within batches of one device",
        "invariance": "mean squared distance of augmented views to the mean of the global ones",
        "sigreg": "Epps-Pulley statistic along random directions: 1.05 if normal, else larger in larger batches",
    }

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 128,
        directions: int = 1024,
        sigreg_weight: float = 0.05,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, layers=3), embed_dim=embed_dim, **kwargs)
        positive(directions=directions)
        check_range("model.sigreg_weight", sigreg_weight, high=1)
        self.shape, self.sigreg_weight = (embed_dim, directions), sigreg_weight

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        embeddings = torch.stack(self.global_batch(self.by_size(views))).float()
        large = embeddings[: sum(view.shape == views[0].shape for view in views)]
        terms = {
            "invariance": (embeddings - large.mean(0)).square().mean(),
            "sigreg": sigreg(embeddings, self._directions(generator).to(embeddings)),
        }
        loss = self.sigreg_weight * terms["sigreg"] + (1 - self.sigreg_weight) * terms["invariance"]
        return {"loss": loss, "embeddings": large.flatten(0, 1)} | terms

    def _directions(self, generator: torch.Generator | None) -> Tensor:
        """Directions (D, S): in training those of seed and step, the same on all devices."""
        if generator is None:
            (key,) = np.random.SeedSequence((self.data.seed, self.trainer.global_step)).generate_state(1)
            generator = torch.Generator().manual_seed(int(key))
        return torch.randn(self.shape, generator=generator)
