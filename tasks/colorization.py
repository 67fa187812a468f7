"""Colorization: learning representations for automatic colorization (Larsson et al. 2016, Zhang et al. 2016)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError, HeadFactory
from modules.heads import Pixels
from modules.patches import hide
from tasks.pretraining import Pretraining


class Colorization(Pretraining):
    """Pretrains a backbone without labels: which colours had the grey picture?

    Args:
        head: draws pixels from the backbone's maps.
        hints: share of the patches that keep their colours, 0..1 (Zhang et al. 2017); where colours are a matter of
            chance, what remains to learn is how far they reach.
        patch: side of these patches in pixels.
    """

    needs: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {"loss": "mean absolute error of each channel's distance from grey"}

    def __init__(self, head: HeadFactory = Pixels, hints: float = 0.0, patch: int = 4, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= hints < 1 or patch < 1:
            raise ConfigError(f"model.hints {hints} must lie in [0, 1), and model.patch {patch} be 1 or more")
        self.hints, self.patch = hints, patch
        self.head = head(self.backbone.features, self.backbone.in_channels)

    def forward(self, grey: Tensor) -> Tensor:
        """Normalised grey pictures (B, 3, H, W), all channels alike, to each channel's distance from grey."""
        return self.head(self.backbone(grey))

    def step(self, batch: Batch, draws: torch.Generator | None) -> dict[str, Tensor]:
        image = batch["image"]
        grey = image.mean(1, keepdim=True).expand_as(image).contiguous(memory_format=torch.channels_last)
        shown = torch.where(hide(image, self.patch, self.hints, draws), image, grey) if self.hints else grey
        return {"loss": (self(shown).float() - (image - grey)).abs().mean()}
