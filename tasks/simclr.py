"""SimCLR: a simple framework for contrastive learning of visual representations (Chen et al. 2020)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, HeadFactory, Prediction
from modules.heads import Projection
from modules.losses.contrastive import nt_xent
from tasks.base import Task


class SimCLR(Task):
    """Pretrains a backbone without labels: two views of a picture attract, views of different pictures repel.

    Args:
        head: projection head; only the backbone is kept afterwards.
        dimension: size D of the embeddings that are compared.
        temperature: divides the cosine similarities.
    """

    monitor = "val/loss"
    mode = "min"
    pretraining = True
    protocols: ClassVar[dict[str, str]] = {"loss": "NT-Xent between two augmented views, within batches of one device"}

    def __init__(self, head: HeadFactory = Projection, dimension: int = 128, temperature: float = 0.2, **kwargs):
        super().__init__(**kwargs)
        self.head = head(self.backbone.features, dimension)
        self.temperature = temperature

    def forward(self, image: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W) to embeddings (B, D)."""
        return self.head(self.backbone(image))

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        first, second = self(torch.cat(batch["views"])).chunk(2)
        gathered = None
        if self.trainer.world_size > 1:
            gathered = tuple(self.all_gather(view, sync_grads=True).flatten(0, 1) for view in (first, second))
        loss = nt_xent(first, second, self.temperature, gathered, self.global_rank)
        self.log_step({"loss": loss})
        return {"loss": loss, "embeddings": torch.cat([first, second]).detach()}

    def validation_step(self, batch: Batch, index: int) -> None:
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, index: int) -> None:
        self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return {"features": self.features(batch["image"])}

    def _evaluate(self, batch: Batch, stage: str) -> None:
        first, second = self(torch.cat(batch["views"])).chunk(2)
        loss = nt_xent(first, second, self.temperature)
        self.log(f"{stage}/loss", loss, batch_size=len(first), sync_dist=True)
