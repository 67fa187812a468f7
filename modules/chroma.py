"""Colours without brightness: what a grey picture does not show."""

import torch
from torch import Tensor

LEVELS = 15  # steps from red to green, and from both of them to blue; odd, so that grey lies in the middle of one
COLOURS = LEVELS**2


def chroma(image: Tensor) -> Tensor:
    """Which of 225 colours each pixel has, however bright: (B, 3, H, W), RGB in 0..1, to int64 (B, H, W).

    They are cells of the plane of red - green and (red + green) / 2 - blue, the two axes beside brightness.
    """
    red, green, blue = image.unbind(1)
    axes = red - green, (red + green) / 2 - blue  # -1..1
    first, second = (((axis + 1) / 2 * (LEVELS - 1)).round().clamp(0, LEVELS - 1).long() for axis in axes)
    return first * LEVELS + second


def chroma_counts(colours: Tensor, cells: tuple[int, int]) -> Tensor:
    """How many pixels of each cell have which colour.

    Args:
        colours: int64 (B, H, W), as `chroma` gives them.
        cells: rows and columns that the picture is cut into; if they do not divide it, some are a pixel larger.

    Returns:
        float32 (B, 225, rows, columns), whole numbers, which add up to the same in any order.
    """
    (batch, *size), (rows, columns) = colours.shape, cells
    row, column = (torch.arange(n, device=colours.device) * k // n for n, k in zip(size, cells, strict=True))
    place = colours * (rows * columns) + (row[:, None] * columns + column)
    counts = torch.zeros(batch, COLOURS * rows * columns, device=colours.device)
    counts.scatter_add_(1, place.flatten(1), torch.ones_like(place, dtype=counts.dtype).flatten(1))
    return counts.view(batch, COLOURS, rows, columns)
