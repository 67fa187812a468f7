"""Jigsaw: unsupervised learning of visual representations by solving jigsaw puzzles (Noroozi and Favaro 2016)."""

import math
from itertools import permutations
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modules.contracts import Batch, ConfigError
from modules.heads import MLP
from modules.pretext.patches import cut
from tasks.pretraining import Costs, Pretraining


class Jigsaw(Pretraining):
    """Self-supervised: classify the permutation of shuffled image tiles (jigsaw puzzle).

    Tiles are cropped at random positions within the cells of a grid and standardized one by one, so that neither
    continuing edges nor shades reveal the permutation.

    Args:
        grid: cells per side, 2 or 3.
        tile_size: side of a tile in pixels; less than a cell, and the backbone's stride or more.
        num_permutations: orders of the tiles to choose from, at most the factorial of grid * grid.
        hidden: width of the hidden layer over all tiles.
    """

    pools = True
    monitor = "val/accuracy"
    mode = "max"
    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "cross-entropy of the tiles' order",
        "accuracy": "of the tiles' order",
    }

    def __init__(self, grid: int = 2, tile_size: int = 32, num_permutations: int = 24, hidden: int = 512, **kwargs):
        super().__init__(**kwargs)
        if grid not in (2, 3):
            raise ConfigError(f"model.grid is {grid}, but must be 2 or 3")
        self.grid, self.tile_size = grid, tile_size
        self.register_buffer("orders", distant_orders(grid * grid, num_permutations))
        self.head = MLP(grid * grid * self.backbone.features.pooled, hidden, num_permutations)

    def chance_loss(self) -> float | None:
        return math.log(len(self.orders))

    def forward(self, tiles: Tensor) -> Tensor:
        """Tiles (B, grid * grid, 3, tile_size, tile_size) to logits (B, num_permutations)."""
        return self.head(self.features(tiles.flatten(0, 1)).view(len(tiles), -1))

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        tiles = cut(batch["image"], self.grid, self.tile_size, generator)
        order = torch.randint(len(self.orders), (len(tiles),), generator=generator).to(tiles.device)
        tiles = tiles[torch.arange(len(tiles), device=tiles.device)[:, None], self.orders[order]]
        logits = self(tiles).float()
        right = (logits.argmax(1) == order).float()
        each = {"loss": cross_entropy(logits, order, reduction="none"), "accuracy": right}
        return {"loss": cross_entropy(logits, order), "accuracy": right.mean(), "each": each}


def distant_orders(length: int, count: int) -> Tensor:
    """`count` permutations of 0..length-1, int64 (count, length), chosen greedily for the largest Hamming distance.

    Raises:
        ConfigError: fewer permutations exist.
    """
    everything = torch.tensor(list(permutations(range(length))))
    if not 2 <= count <= len(everything):
        raise ConfigError(f"model.num_permutations is {count}, but {length} tiles have 2 to {len(everything)} orders")
    chosen, nearest = [0], torch.full((len(everything),), length + 1)
    while len(chosen) < count:
        nearest = nearest.minimum((everything != everything[chosen[-1]]).sum(1))
        chosen.append(int(nearest.argmax()))
    return everything[chosen]
