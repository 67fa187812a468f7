"""Attention of queries to each other and to the maps of a pyramid: deformable, at a few points, or dense."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, linear, scaled_dot_product_attention

from modules.heads.detection.detr.grid import Grid, sines

HEADS = 8


class Memory(NamedTuple):
    """Output of the encoder.

    Attributes:
        maps: (B, D, h, w) each, fine to coarse; 0 in cells of padding.
        tokens: the same as (B, N, D), the cells of all maps.
        grid: of these maps.
    """

    maps: list[Tensor]
    tokens: Tensor
    grid: Grid


class PlacedAttention(nn.Module):
    """Multi-head attention whose queries and keys know their places, while its values do not (Carion et al. 2020)."""

    def __init__(self, width: int):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight, 0.5**0.5)  # as of one layer of three times the width
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) from queries (B, T, D) and keys and values (B, S, D).

        `mask` is bool, True where a query may look, and broadcasts to (B, heads, T, S).
        """
        query, key, value = (
            layer(x).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer, x in ((self.query, queries), (self.key, keys), (self.value, values))
        )
        if torch.compiler.is_exporting():  # torch's kernel refuses maps of any size
            scores = query @ key.transpose(2, 3) * query.shape[3] ** -0.5
            seen = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value
        else:
            seen = scaled_dot_product_attention(query, key, value, mask)
        return self.output(seen.transpose(1, 2).flatten(2))


class DenseAttention(nn.Module):
    """Attention of queries to all cells of all maps.

    Args:
        width: of queries and maps.
        levels: number of maps.
    """

    def __init__(self, width: int, levels: int):
        super().__init__()
        self.width = width
        self.attention = PlacedAttention(width)

    def forward(self, queries: Tensor, boxes: Tensor, memory: Memory) -> Tensor:
        """See `DeformableAttention`."""
        places = sines(memory.grid.anchors, self.width).to(memory.tokens.dtype)
        mask = memory.grid.flat[:, None, None]
        return self.attention(queries, memory.tokens + places, memory.tokens, mask)


class DeformableAttention(nn.Module):
    """Deformable attention (Zhu et al. 2021) in plain torch: each head samples a few points of every map.

    Where they lie is a linear function of the query, relative to its box and in shares of its sides; they are read by
    bilinear interpolation.

    Args:
        width: of queries and maps.
        levels: number of maps.
        points: of each head in each map.
    """

    def __init__(self, width: int, levels: int, points: int = 4):
        super().__init__()
        self.levels, self.points = levels, points
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.offsets = nn.Linear(width, HEADS * levels * points * 2)
        self.weights = nn.Linear(width, HEADS * levels * points)
        for layer in (self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.weights.bias)
        turns = 2 * math.pi * torch.arange(HEADS) / HEADS  # one direction for each head, one distance for each point
        rays = torch.stack([turns.cos(), turns.sin()], 1)
        rays = (rays / rays.abs().amax(1, keepdim=True))[:, None, None] * torch.arange(1, points + 1)[:, None]
        with torch.no_grad():
            self.offsets.bias.copy_((rays / points).expand(-1, levels, -1, -1).flatten())

    def forward(self, queries: Tensor, boxes: Tensor, memory: Memory) -> Tensor:
        """Answers of the maps to queries.

        Args:
            queries: (B, Q, D) with their places.
            boxes: float32 (B, Q, 4) of the queries, (center x, center y, width, height) in shares of the image.
            memory: of the encoder.

        Returns:
            (B, Q, D).
        """
        shape = (HEADS, self.levels, self.points)
        offsets = self.offsets(queries).float().unflatten(-1, (*shape, 2))
        weights = self.weights(queries).float().unflatten(-1, (HEADS, -1)).softmax(-1).unflatten(-1, shape[1:])
        centers, sides = boxes[:, :, None, None, None].split(2, -1)
        places = centers + offsets * sides / 2  # an offset of 1 is the side of the box
        values = linear(memory.tokens, self.value.weight, self.value.bias)
        values = (values * memory.grid.flat[..., None]).float()
        values = values.split([each.shape[2] * each.shape[3] for each in memory.maps], 1)
        parts = []
        for level, (value, each) in enumerate(zip(values, memory.maps, strict=True)):
            place = places[:, :, :, level] / memory.grid.extents[level][:, None, None, None]
            parts.append(sampled(value, each.shape[2], each.shape[3], place, weights[:, :, :, level]))
        return self.output(torch.stack(parts).sum(0).to(queries.dtype))


def sampled(value: Tensor, height: int, width: int, places: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of points of one map for each query and head.

    Args:
        value: float32 (B, height * width, D), the channels of the heads one after another.
        height: of the map.
        width: of the map.
        places: (B, Q, heads, P, 2), x and y in shares of the map.
        weights: (B, Q, heads, P).

    Returns:
        (B, Q, D). Points outside of the map count as 0.
    """
    heads = weights.shape[2]
    maps = value.transpose(1, 2).unflatten(1, (heads, -1)).flatten(0, 1).unflatten(-1, (height, width))
    points = (2 * places - 1).transpose(1, 2).flatten(0, 1)
    found = grid_sample(maps, points, mode="bilinear", padding_mode="zeros", align_corners=False)
    found = (found * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
    return found.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2)
