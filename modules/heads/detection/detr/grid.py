"""Cells of a pyramid: their places, the anchor boxes of each, and the cells that show padding alone."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ANCHOR = 4.0
"""Side of a cell's anchor box in strides of its map."""
EDGE = 0.01
"""Distance from 0 and 1 at which the inverse of the sigmoid is cut."""


class Grid(NamedTuple):
    """Cells of the maps of a pyramid; N are those of all maps, fine to coarse.

    Boxes are (center x, center y, width, height) in shares of the part of the image that is no padding, so that padding
    changes no box.

    Attributes:
        real: of each map bool (B, 1, h, w), True for cells that show the image.
        extents: of each map float32 (B, 2), its width and height in the same shares: at least 1, more with padding.
        anchors: float32 (B, N, 4), a box around each cell.
    """

    real: list[Tensor]
    extents: list[Tensor]
    anchors: Tensor

    @property
    def flat(self) -> Tensor:
        """Cells that show the image, bool (B, N)."""
        return torch.cat([each.flatten(1) for each in self.real], 1)


def grid(maps: Sequence[Tensor], strides: Sequence[int], inside: Tensor) -> Grid:
    """Cells of maps (B, D, h, w) of these strides, on images whose height and width (B, 2) `inside` are no padding."""
    size = inside.flip(1).float()  # width, height
    real, extents, anchors = [], [], []
    for each, stride in zip(maps, strides, strict=True):
        x, y = (torch.arange(side, device=each.device) * stride for side in (each.shape[3], each.shape[2]))
        shown = (y < inside[:, :1])[:, :, None] & (x < inside[:, 1:])[:, None]
        real.append(shown[:, None])
        extents.append((torch.stack([x[-1], y[-1]]) + stride) / size)
        corners = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)
        centers = (corners + stride / 2) / size[:, None]
        anchors.append(torch.cat([centers, (ANCHOR * stride / size)[:, None].expand_as(centers)], 2))
    return Grid(real, extents, torch.cat(anchors, 1))


def inverse_sigmoid(shares: Tensor) -> Tensor:
    """Logits of shares of 0..1, those near the ends cut at 0.01 and 0.99: further out a sigmoid hardly learns."""
    return shares.clamp(EDGE, 1 - EDGE).logit()


def sines(boxes: Tensor, width: int) -> Tensor:
    """Sinusoidal embedding (..., width) of the last axis of `boxes` (..., K) in 0..1, width / K for each number.

    Waves from 1 / 2 to 10 periods of the whole image: small networks need no finer ones.
    """
    each = width // boxes.shape[-1] // 2
    rates = torch.pi * torch.logspace(0, 1, each, 20.0, device=boxes.device)
    angles = boxes[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)
