"""Colorization: predicting the colors of gray images (Larsson et al. 2016, Zhang et al. 2016)."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from modules.backbones.stem import see_gray
from modules.contracts import Batch, ConfigError
from modules.pretext.chroma import COLORS, chroma, chroma_counts
from tasks.pretraining import Costs, Pretraining

MEMORY = 100  # steps over which the shares of colors are averaged


class Colorization(Pretraining):
    """Self-supervised: predict the colors of a gray image.

    Every cell of the coarsest map predicts a histogram of 225 colors (Larsson et al. 2016), since the mean of plausible
    colors would be gray. The first layer starts with equal weights for all channels, and gray images keep them equal,
    so the backbone sees colored images as gray.

    Args:
        rebalance: class rebalancing of rare colors (Zhang et al. 2016), [0, 1): at 0 all pixels have the same weight,
            near 1 all colors, however rare.
    """

    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": f"cross-entropy of each cell's histogram of {COLORS} colors in nats, rare ones counting more"
    }
    shares: Tensor

    def __init__(self, rebalance: float = 0.5, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rebalance < 1:
            raise ConfigError(f"model.rebalance is {rebalance}, but must lie in [0, 1)")
        if self.backbone.in_channels != 3:
            raise ConfigError(
                f"the backbone has in_channels {self.backbone.in_channels}, but colorization learns from the colors of "
                f"images: set --data.channels 3 and --model.backbone.in_channels 3"
            )
        self.rebalance = rebalance
        self.head = nn.Conv2d(self.backbone.features.channels[-1], COLORS, 1)
        self.register_buffer("shares", torch.full((COLORS,), 1 / COLORS))

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and not self.trainer.ckpt_path:
            see_gray(self.backbone)

    def chance_loss(self) -> float | None:
        return math.log(COLORS)

    def forward(self, gray: Tensor) -> Tensor:
        """Normalized gray images (B, 3, H, W), all channels alike, to logits (B, 225, h, w) of colors."""
        return self.head(self.backbone(gray)[-1])

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch["image"]
        logits = self(image.mean(1, keepdim=True).expand_as(image).contiguous(memory_format=torch.channels_last))
        counts = chroma_counts(chroma(self.backbone.restore(image)), logits.shape[-2:])
        target = counts / counts[0].sum()
        if self.training:
            found = self.gather(target.sum((0, 2, 3))[None]).sum(0)
            self.shares.lerp_((found / found.sum()).to(self.shares), 1 / min(self.trainer.global_step + 1, MEMORY))
        losses = -(self._weights() * target * logits.float().log_softmax(1)).sum((1, 2, 3))
        return {"loss": losses.mean(), "each": {"loss": losses}}

    def _weights(self) -> Tensor:
        """Loss weight of each color, (225, 1, 1); 1 on average over pixels."""
        weights = 1 / ((1 - self.rebalance) / COLORS + self.rebalance * self.shares)
        return (weights / (weights * self.shares).sum())[:, None, None]
