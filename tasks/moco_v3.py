"""MoCo v3: an empirical study of training self-supervised vision transformers (Chen et al. 2021)."""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch
from modules.heads import MLP, Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.contrastive import info_nce_in_batch
from modules.training.teacher import Teacher
from tasks.pretraining import MomentumEncoderPretraining, ViewPretraining, positive


class MoCoV3(ViewPretraining, MomentumEncoderPretraining):
    """Self-supervised: momentum contrast of two views against in-batch negatives, without a queue.

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection with `last_norm`.
        embed_dim: size D of the embeddings that are compared.
        hidden: width of the predictor's hidden layer.
        temperature: divides the cosine similarities.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "2 T InfoNCE between two augmented views, within a batch, both ways"}

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 256,
        hidden: int = 1024,
        temperature: float = 0.2,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, last_norm=True), embed_dim=embed_dim, **kwargs)
        positive(hidden=hidden, temperature=temperature)
        self.predictor = MLP(embed_dim, hidden, embed_dim, last_norm=True)
        self.teacher = Teacher(self.backbone, self.head)
        self.temperature = temperature

    def chance_loss(self) -> float | None:
        images = self.data.batch_size and self.data.batch_size * self.trainer.world_size
        return 4 * self.temperature * math.log(images) if images else None

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to predictions (B, D)."""
        return self.predictor(self.answer(self.head, image))

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        queries, keys = [self(view) for view in views], [self.teacher(view) for view in views]
        rank = self.global_rank if self.training else 0
        if self.training:
            keys = [self.gather(key) for key in keys]
        losses = [info_nce_in_batch(queries[i], keys[1 - i], self.temperature, rank) for i in (0, 1)]
        return {"loss": sum(losses), "embeddings": queries[0]}
