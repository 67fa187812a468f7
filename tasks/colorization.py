"""Colorization: learning representations for automatic colorization (Larsson et al. 2016, Zhang et al. 2016)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, HeadFactory
from modules.heads import Pixels
from tasks.pretraining import Pretraining


class Colorization(Pretraining):
    """Pretrains a backbone without labels: which colours had the grey picture?

    Args:
        head: draws pixels from the backbone's maps.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "mean absolute error of each channel's distance from grey"}

    def __init__(self, head: HeadFactory = Pixels, **kwargs):
        super().__init__(**kwargs)
        self.head = head(self.backbone.features, self.backbone.in_channels)

    def forward(self, grey: Tensor) -> Tensor:
        """Normalised grey pictures (B, 3, H, W), all channels alike, to each channel's distance from grey."""
        return self.head(self.backbone(grey))

    def step(self, batch: Batch, draws: torch.Generator | None) -> dict[str, Tensor]:
        image = self.picture(batch)
        grey = image.mean(1, keepdim=True).expand_as(image).contiguous(memory_format=torch.channels_last)
        return {"loss": (self(grey).float() - (image - grey)).abs().mean()}
