"""Normalization between the layers of generators and discriminators."""

from typing import Literal

from torch import Tensor, nn

from modules.layers.blocks import BatchNorm

Norm = Literal["batch", "layer", "instance", "none"]


def norm(kind: Norm, channels: int) -> nn.Module:
    """Normalization layer of maps (B, channels, H, W): batch norm, layer norm over an image, instance norm, or none."""
    if kind == "batch":
        return BatchNorm(channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    return nn.InstanceNorm2d(channels, affine=True) if kind == "instance" else nn.Identity()


class ConditionalBatchNorm(nn.Module):
    """Batch norm with a scale and a shift per class (Dumoulin et al. 2017); without classes, plain batch norm.

    Args:
        channels: of the maps.
        classes: 0 for none.
    """

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.norm = BatchNorm(channels, affine=not classes)
        self.scale = self.shift = None
        if classes:
            self.scale, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
            nn.init.ones_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Maps (B, channels, H, W) and labels (B,)."""
        x = self.norm(x)
        if self.scale is None:
            return x
        return x * self.scale(label)[..., None, None] + self.shift(label)[..., None, None]
