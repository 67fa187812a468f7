"""SimCLR: a simple framework for contrastive learning of visual representations (Chen et al. 2020)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.contrastive import nt_xent
from tasks.pretraining import ViewPretraining, positive


class SimCLR(ViewPretraining):
    """Self-supervised: pull two augmented views of an image together, push other images apart.

    Args:
        head: projection head; only the backbone is kept afterward.
        embed_dim: size D of the embeddings that are compared.
        temperature: divides the cosine similarities.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "NT-Xent between two augmented views, within batches of one device"}

    def __init__(
        self, head: HeadFactory[EmbeddingHead] = Projection, embed_dim: int = 128, temperature: float = 0.2, **kwargs
    ):
        super().__init__(head=head, embed_dim=embed_dim, **kwargs)
        positive(temperature=temperature)
        self.temperature = temperature

    def chance_loss(self) -> float | None:
        return self.chance_among_views()

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        first, second = self(torch.cat(batch["views"])).chunk(2)
        gathered = (self.gather(first, True), self.gather(second, True)) if self.training else None
        loss = nt_xent(first, second, self.temperature, gathered, self.global_rank)
        return {"loss": loss, "embeddings": torch.cat([first, second])}
