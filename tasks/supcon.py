"""SupCon: supervised contrastive learning (Khosla et al. 2020)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError
from modules.contracts.data_info import DataInfo
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.contrastive import supcon
from tasks.pretraining import ViewPretraining, positive


class SupCon(ViewPretraining):
    """Supervised pretraining: pull the views of all images of a class together, push other classes apart.

    Args:
        head: projection head; only the backbone is kept afterward.
        embed_dim: size D of the embeddings that are compared.
        temperature: divides the cosine similarities.
    """

    protocols: ClassVar[dict[str, str]] = {
        "loss": "supervised contrastive loss of two augmented views, within batches of one device"
    }

    def __init__(
        self, head: HeadFactory[EmbeddingHead] = Projection, embed_dim: int = 128, temperature: float = 0.1, **kwargs
    ):
        super().__init__(head=head, embed_dim=embed_dim, **kwargs)
        positive(temperature=temperature)
        self.temperature = temperature

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage != "predict" and data.batch_size is not None:  # of plain loaders the first batch tells
            self._check_classes(data.classes is not None)
        if data.classes is not None and len(data.classes) < 2:
            raise ConfigError(
                f"SupCon pushes images of different classes apart, but {data.name} has {len(data.classes)}: choose "
                "--data with two or more, or a method that needs none, such as --config tasks/simclr.yaml"
            )

    def _check(self, batch: Batch) -> None:
        super()._check(batch)
        self._check_classes("label" in batch or self.trainer.predicting)

    def _check_classes(self, known: bool) -> None:
        if not known:
            raise ConfigError(
                f"SupCon compares images by class, but {self.data.name} has no labels, one class each: choose other "
                "--data, or a method that needs none, such as --config tasks/simclr.yaml"
            )

    def chance_loss(self) -> float | None:
        return self.chance_among_views()

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        first, second, label = self.global_batch([*self(torch.cat(views)).chunk(2), batch["label"]])
        embeddings = torch.cat([first, second])
        return {"loss": supcon(embeddings, label.repeat(2), self.temperature), "embeddings": embeddings}
