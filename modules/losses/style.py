"""Losses of style transfer on feature maps: style by Gram matrices, and content.

Gatys et al. 2016, "Image style transfer using convolutional neural networks"; Johnson et al. 2016.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def gram(maps: Tensor) -> Tensor:
    """Gram matrix of the channels over all cells, divided by C H W: maps (B, C, H, W) to (B, C, C), float32."""
    cells = maps.float().flatten(2)
    return cells @ cells.mT / cells[0].numel()


def style_loss(maps: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Squared Frobenius distance of Gram matrices relative to the style's own norm; mean over levels, (B,).

    Relative, so that levels of any network count alike: 0 is the style itself, 1 is a map of zeros.

    Args:
        maps: (B, C, H, W) of each level, of any sizes.
        targets: Gram matrices of the style, (C, C), or (B, C, C) one per image.
    """
    losses = []
    for cells, target in zip(maps, targets, strict=True):
        error = (gram(cells) - target).square().sum((-2, -1))
        losses.append(error / target.square().sum((-2, -1)))
    return torch.stack(losses).mean(0)


def content_loss(maps: Tensor, target: Tensor) -> Tensor:
    """Squared distance of maps (B, C, H, W), relative to the squared norm of the content's; (B,)."""
    error = (maps.float() - target.float()).square().flatten(1).sum(1)
    return error / target.float().square().flatten(1).sum(1)
