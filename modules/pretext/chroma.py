"""Quantized chrominance for colorization: colors without brightness."""

import torch
from torch import Tensor

LEVELS = 15  # steps from red to green, and from both of them to blue; odd, so that gray lies in the middle of one
COLORS = LEVELS**2


def chroma(image: Tensor) -> Tensor:
    """Quantized chrominance of each pixel, 0..224, int64 (B, H, W), from images (B, 3, H, W), RGB in 0..1.

    Classes are cells of the plane of red - green and (red + green) / 2 - blue, the two axes beside brightness.
    """
    red, green, blue = image.unbind(1)
    axes = red - green, (red + green) / 2 - blue  # -1..1
    first, second = (((axis + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long() for axis in axes)
    return first * LEVELS + second


def chroma_counts(colors: Tensor, cells: tuple[int, int]) -> Tensor:
    """Color histogram of each cell of a grid.

    Args:
        colors: int64 (B, H, W), as `chroma` gives them.
        cells: rows and columns that the image is cut into; if they do not divide it, some are a pixel larger.

    Returns:
        float32 (B, 225, rows, columns), whole numbers, which add up to the same in any order.
    """
    (batch, *size), (rows, columns) = colors.shape, cells
    row, column = (torch.arange(n, device=colors.device) * k // n for n, k in zip(size, cells, strict=True))
    place = colors * (rows * columns) + (row[:, None] * columns + column)
    counts = torch.zeros(batch, COLORS * rows * columns, device=colors.device)
    counts.scatter_add_(1, place.flatten(1), torch.ones_like(place, dtype=counts.dtype).flatten(1))
    return counts.view(batch, COLORS, rows, columns)
