"""Masked-patch reconstruction: a simple framework for masked image modeling (Xie et al. 2022, SimMIM)."""

from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError, HeadFactory
from modules.heads import Pixels
from tasks.pretraining import Pretraining


class MaskedPatches(Pretraining):
    """Pretrains a backbone without labels: what was in the patches that were painted over?

    Args:
        head: draws pixels from the backbone's maps.
        patch: side of a patch in pixels.
        ratio: share of the patches that are painted over, between 0 and 1.
    """

    protocols: ClassVar[dict[str, str]] = {"loss": "mean absolute error of hidden pixels, in standard deviations"}

    def __init__(self, head: HeadFactory = Pixels, patch: int = 8, ratio: float = 0.6, **kwargs):
        super().__init__(**kwargs)
        if not 0 < ratio < 1 or patch < 1:
            raise ConfigError(f"model.ratio {ratio} must lie between 0 and 1, and model.patch {patch} be 1 or more")
        self.head = head(self.backbone.features, self.backbone.in_channels)
        self.patch, self.ratio = patch, ratio

    def forward(self, image: Tensor) -> Tensor:
        """Normalised pictures (B, 3, H, W), parts of them 0, to whole ones."""
        return self.head(self.backbone(image))

    def step(self, batch: Batch, draws: torch.Generator | None) -> dict[str, Tensor]:
        image = self.picture(batch)
        hidden = hide(image, self.patch, self.ratio, draws)
        drawn = self(image * ~hidden).float()
        error = (drawn - image).abs() * hidden
        return {"loss": error.sum() / (hidden.sum() * image.shape[1])}


def hide(image: Tensor, patch: int, ratio: float, draws: torch.Generator | None) -> Tensor:
    """Random patches of each picture, bool (B, 1, H, W); the same share of every picture.

    Raises:
        ConfigError: the picture does not fall into whole patches.
    """
    batch, _, height, width = image.shape
    if height % patch or width % patch:
        raise ConfigError(f"model.patch is {patch}, which does not divide pictures of {height} x {width} pixels")
    rows, columns = height // patch, width // patch
    count = max(1, round(ratio * rows * columns))
    chosen = torch.rand(batch, rows * columns, generator=draws).argsort(1)[:, :count].to(image.device)
    hidden = torch.zeros(batch, rows * columns, dtype=torch.bool, device=image.device).scatter_(1, chosen, True)
    return hidden.view(batch, 1, rows, columns).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
