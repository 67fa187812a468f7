"""SimSiam: exploring simple Siamese representation learning (Chen and He 2021)."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch
from modules.heads import MLP, Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.distillation import negative_cosine
from tasks.pretraining import ViewPretraining, positive


class SimSiam(ViewPretraining):
    """Self-supervised without negatives or a teacher: predict the other view's embedding, with stop-gradient.

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection of 3 layers with `last_norm`.
        embed_dim: size D of the embeddings that are compared.
        hidden: width of the predictor's bottleneck; a quarter of `embed_dim` in the paper.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "minus cosine of prediction and target, both ways, -1..1"}

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 512,
        hidden: int = 128,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, layers=3, last_norm=True), embed_dim=embed_dim, **kwargs)
        positive(hidden=hidden)
        self.predictor = MLP(embed_dim, hidden, embed_dim)

    def chance_loss(self) -> float | None:
        """0: a random predictor's output has no direction in common with the target."""
        return 0.0

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        embeddings = [self(view) for view in batch["views"]]
        losses = [negative_cosine(self.predictor(embeddings[i]), embeddings[1 - i]) for i in (0, 1)]
        return {"loss": sum(losses) / 2, "embeddings": torch.cat(embeddings)}
