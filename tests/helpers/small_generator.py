"""A generator as small as the contract allows, on the built-in images."""

from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from datamodules import Shapes


def shapes(**settings: Any) -> Shapes:
    return Shapes(**({"image_size": 16, "train": 96, "val": 32, "test": 16, "batch_size": 32, "workers": 0} | settings))


class Generator(L.LightningModule):
    """Generator that returns images of the training set, chosen by the noise, or one and the same (mode collapse)."""

    generative = True

    def __init__(self, data: Shapes, collapsed: bool = False, condition: str | None = None) -> None:
        super().__init__()
        data.setup()
        source, rows = data.splits["train"]
        self.pool = torch.from_numpy(source.images[rows]).permute(0, 3, 1, 2) / 127.5 - 1
        self.labels = torch.from_numpy(source.labels[rows])
        self.collapsed, self.condition, self.classes, self.latent = collapsed, condition, data.classes, 4
        self.weight = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed_noise", torch.randn(64, 4, generator=torch.Generator().manual_seed(0)))

    def images(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        assert (label is not None) == bool(self.condition)
        if self.collapsed:
            return self.pool[:1].expand(len(noise), -1, -1, -1)
        chosen = ((noise[:, 0] * 1000).long()) % len(self.pool)
        if label is not None:  # an image of that class, if there is one
            rows = [(self.labels == c).nonzero().squeeze(1) for c in label.tolist()]
            chosen = torch.stack([r[i % len(r)] for r, i in zip(rows, chosen.tolist(), strict=True)])
        return self.pool[chosen]

    def generate(self, count: int, generator: torch.Generator | None, label: Tensor | None = None) -> Tensor:
        return self.images(torch.randn(count, self.latent, generator=generator), label)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.weight.square() + 1

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """No step: callbacks call the generator themselves."""

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)
