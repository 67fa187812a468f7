"""Attention of mask queries: where a query may look, and how the masking fades during training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

POWER = 0.9  # of the decline of the probability, as published


class Attention(nn.Module):
    """Multi-head attention.

    Args:
        width: of queries and memory.
        heads: a divisor of the width.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor | None = None) -> Tensor:
        """Queries (B, Q, D), keys and values (B, N, D) to (B, Q, D); true in blocked (B, Q, N) is not looked at."""
        parts = self.query(query), self.key(key), self.value(value)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = None if blocked is None else ~blocked[:, None]
        found = functional.scaled_dot_product_attention(query, key, value, seen)
        return self.out(found.transpose(1, 2).flatten(2))


def outside(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells outside of each mask: bool (B, Q, h * w) of logits (B, Q, H, W), for maps of that size.

    A mask without any cell inside has none outside either: a query always has something to attend to.
    """
    found = functional.interpolate(masks.detach().float(), size, mode="bilinear", align_corners=False).flatten(2) < 0
    return found & ~found.all(2, keepdim=True)


class Annealing(nn.Module):
    """Mask annealing: the probability of each layer that a query is masked falls from 1 to 0 in training.

    Layer after layer, in windows of equal length, so that the network ends up without masks and computes none at
    inference (Kerssies et al. 2025). In evaluation queries are masked while the probability is above 0.5.

    Args:
        layers: number of masked layers L; the first and the last of L + 2 windows change nothing.
        anneal: false masks always.
    """

    def __init__(self, layers: int, anneal: bool = True):
        super().__init__()
        self.anneal = anneal
        self.register_buffer("probability", torch.ones(layers))
        self.known = [1.0] * layers  # the same as numbers, for which no device is asked

    def set_progress(self, progress: float) -> None:
        """Set the probabilities for the share of the training that is done, 0..1."""
        if self.anneal:
            windows = len(self.known) + 2
            shares = [min(max(progress * windows - layer - 1, 0.0), 1.0) for layer in range(len(self.known))]
            self.known = [(1 - share) ** POWER for share in shares]
            self.probability.copy_(torch.tensor(self.known))

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.known = self.probability.tolist()

    def active(self, layer: int) -> bool:
        """True if queries of a layer are masked, some of them at least."""
        return self.known[layer] > (0.0 if self.training else 0.5)

    def forward(self, layer: int, masks: Tensor, size: tuple[int, int]) -> Tensor:
        """Cells that queries do not look at in an active layer, bool (B, Q, h * w), of mask logits (B, Q, H, W)."""
        blocked = outside(masks, size)
        if not self.training:
            return blocked
        return blocked & (torch.rand(masks.shape[0], masks.shape[1], 1, device=masks.device) < self.known[layer])


def positions(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sine-cosine positions (h * w, channels) of cells by their share of the image, half the channels for each axis.

    Args:
        height: rows.
        width: columns.
        channels: a multiple of 4.
        device: of the result.
    """
    angles = 10_000 ** -(torch.arange(channels // 4, device=device) / (channels // 4))
    waves = []
    for side in (height, width):
        where = 2 * torch.pi * (torch.arange(side, device=device) + 0.5) / side
        wave = where[:, None] * angles
        waves.append(torch.cat([wave.sin(), wave.cos()], 1))
    rows, columns = waves
    shape = (height, width, channels // 2)
    return torch.cat([rows[:, None].expand(shape), columns[None].expand(shape)], 2).flatten(0, 1)
