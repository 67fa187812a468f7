"""BYOL: bootstrap your own latent (Grill et al. 2020)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch
from modules.heads import MLP, Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.distillation import negative_cosine
from modules.training.teacher import Teacher
from tasks.pretraining import MomentumEncoderPretraining, ViewPretraining, positive


class BYOL(ViewPretraining, MomentumEncoderPretraining):
    """Self-supervised without negatives: predict the momentum teacher's embedding of the other view.

    Args:
        head: projection head; only the backbone is kept afterward.
        embed_dim: size D of the embeddings that are compared.
        hidden: width of the predictor's hidden layer.
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "minus cosine of prediction and target, both ways, -1..1"}

    def __init__(
        self, head: HeadFactory[EmbeddingHead] = Projection, embed_dim: int = 256, hidden: int = 1024, **kwargs
    ):
        super().__init__(head=head, embed_dim=embed_dim, **kwargs)
        positive(hidden=hidden)
        self.predictor = MLP(embed_dim, hidden, embed_dim)
        self.teacher = Teacher(self.backbone, self.head)

    def chance_loss(self) -> float | None:
        """0: a random predictor's output has no direction in common with the target."""
        return 0.0

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to predictions (B, D)."""
        return self.predictor(self.answer(self.head, image))

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        predictions, targets = [self(view) for view in views], [self.teacher(view) for view in views]
        losses = [negative_cosine(predictions[i], targets[1 - i]) for i in (0, 1)]
        return {"loss": sum(losses) / 2, "embeddings": torch.cat(targets)}
