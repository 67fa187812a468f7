"""Masked-patch reconstruction: a simple framework for masked image modeling (Xie et al. 2022, SimMIM)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError, HeadFactory
from modules.heads import Pixels
from modules.patches import hide, standardised
from tasks.pretraining import Pretraining


class MaskedPatches(Pretraining):
    """Pretrains a backbone without labels: what was in the patches that were painted over?

    Args:
        head: draws pixels from the backbone's maps.
        patch: side of a patch in pixels.
        ratio: share of the patches that are painted over, between 0 and 1.
        standardise: ask for each patch with mean 0 and deviation 1 per channel (He et al. 2022, MAE): its texture
            rather than its colour.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "mean absolute error of hidden pixels, in standard deviations"}

    def __init__(
        self, head: HeadFactory = Pixels, patch: int = 16, ratio: float = 0.5, standardise: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        if not 0 < ratio < 1 or patch < 1:
            raise ConfigError(f"model.ratio {ratio} must lie between 0 and 1, and model.patch {patch} be 1 or more")
        self.head = head(self.backbone.features, self.backbone.in_channels)
        self.patch, self.ratio, self.standardise = patch, ratio, standardise

    def forward(self, image: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W), parts of them 0, to whole ones."""
        return self.head(self.backbone(image))

    def step(self, batch: Batch, draws: torch.Generator | None) -> dict[str, Tensor]:
        image = batch["image"]
        hidden = hide(image, self.patch, self.ratio, draws)
        target = standardised(image, self.patch) if self.standardise else image
        error = (self(image * ~hidden).float() - target).abs() * hidden
        return {"loss": error.sum() / (hidden.sum() * image.shape[1])}
