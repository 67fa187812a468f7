"""The hybrid encoder of RT-DETR in small: attention on the coarsest map, convolutions between the maps."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from modules.contracts import Features
from modules.heads.detection.detr.attention import Memory, PlacedAttention
from modules.heads.detection.detr.grid import Grid, grid, sines
from modules.layers.blocks import BatchNorm


class Conv(nn.Module):
    """Convolution, batch norm and SiLU; cells of padding stay 0, so that it never reaches into the image."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        return silu(self.norm(self.conv(x))) * real


class Fusion(nn.Module):
    """Two maps of one size to one, with a residual branch."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second, self.beside = Conv(2 * width, width), Conv(width, width, 3), Conv(2 * width, width)

    def forward(self, one: Tensor, other: Tensor, real: Tensor) -> Tensor:
        both = torch.cat([one, other], 1)
        return self.second(self.first(both, real), real) + self.beside(both, real)


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward network over the cells of one map, each normalized after it."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.attention = PlacedAttention(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])

    def forward(self, x: Tensor, real: Tensor, anchors: Tensor) -> Tensor:
        """A map (B, D, h, w) to another, by what is no padding, bool (B, 1, h, w), and boxes (B, h * w, 4)."""
        tokens = x.flatten(2).transpose(1, 2)
        placed = tokens + sines(anchors[..., :2], self.width).to(tokens.dtype)
        tokens = self.norms[0](tokens + self.attention(placed, placed, tokens, real.flatten(2)[:, None]))
        tokens = self.norms[1](tokens + self.feed_forward(tokens))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:]) * real


class HybridEncoder(nn.Module):
    """Maps of any channels to maps of one width that know of each other (Zhao et al. 2024).

    Args:
        features: of the maps.
        width: channels D of the new maps, a multiple of 8.
    """

    def __init__(self, features: Features, width: int):
        super().__init__()
        self.strides = features.strides
        self.inputs = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(c, width, 1, bias=False), BatchNorm(width)) for c in features.channels]
        )
        self.attend = TransformerLayer(width)
        self.steps = [coarse // fine for fine, coarse in pairwise(self.strides)]
        self.lateral = nn.ModuleList([Conv(width, width) for _ in self.steps])
        self.down = nn.ModuleList([Conv(width, width, 3, step) for step in self.steps])
        self.top_down = nn.ModuleList([Fusion(width) for _ in self.steps])
        self.bottom_up = nn.ModuleList([Fusion(width) for _ in self.steps])

    def forward(self, maps: list[Tensor], inside: Tensor) -> Memory:
        """Encode maps, fine to coarse, of images whose height and width (B, 2) `inside` are no padding."""
        cells = grid(maps, self.strides, inside)
        maps = [layer(x) * real for layer, x, real in zip(self.inputs, maps, cells.real, strict=True)]
        last = maps[-1].shape[2] * maps[-1].shape[3]
        maps[-1] = self.attend(maps[-1], cells.real[-1], cells.anchors[:, -last:])
        maps = self.fuse(maps, cells)
        return Memory(maps, torch.cat([x.flatten(2) for x in maps], 2).transpose(1, 2), cells)

    def fuse(self, maps: list[Tensor], cells: Grid) -> list[Tensor]:
        """Convolutions from coarse maps to fine ones, and back."""
        real = cells.real
        for i in reversed(range(len(maps) - 1)):
            maps[i + 1] = self.lateral[i](maps[i + 1], real[i + 1])
            height, width = maps[i].shape[2:]
            above = interpolate(maps[i + 1], scale_factor=float(self.steps[i]))[:, :, :height, :width]
            maps[i] = self.top_down[i](maps[i], above, real[i])
        for i in range(len(maps) - 1):
            below = self.down[i](maps[i], real[i + 1])
            maps[i + 1] = self.bottom_up[i](maps[i + 1], below, real[i + 1])
        return maps
