"""Fixed sine-cosine positions in one, two and three dimensions."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sin_cos(count: int, width: int) -> Tensor:
    """Positions 0..count-1 of one dimension as sines, then cosines, of falling frequency, (count, width)."""
    angles = 10_000 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    wave = torch.arange(count)[:, None] * angles
    return torch.cat([wave.sin(), wave.cos()], 1).float()


def grid_positions(grid: Sequence[int], width: int) -> Tensor:
    """Positions of the cells of a grid, row by row, (cells, width): half of the channels tell the column, half the row.

    Args:
        grid: rows and columns, with steps of time before them for clips, whose positions are added over all channels.
        width: a multiple of 4.
    """
    *steps, rows, columns = grid
    along, down = (sin_cos(side, width // 2) for side in (columns, rows))
    table = torch.cat([along.repeat(rows, 1), down.repeat_interleave(columns, 0)], 1)
    return (sin_cos(steps[0], width)[:, None] + table).flatten(0, 1) if steps else table
