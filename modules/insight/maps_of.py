"""Outputs of layers of any kind as maps (B, C, h, w)."""

from collections.abc import Sequence

from torch import Tensor

from modules.contracts import ConfigError

MOST_EXTRA = 16
"""Tokens in front of those of the image: class token, distillation token, registers."""


def as_map(output: Tensor, count: int, sides: Sequence[int] = (1, 1)) -> Tensor:
    """The output of a layer as maps (B, C, h, w).

    Frames, in the batch or as a dimension of their own, are averaged. Tokens become a grid of cells in the proportions
    of the image, without those in front, such as a class token; vectors become one cell. Channels in the last dimension
    come first.

    Args:
        output: (B, C, h, w), (B T, C, h, w), (B, C, T, h, w), (B, h, w, C), (B, N, C) or (B, C).
        count: B.
        sides: height and width of the image, or their proportion.

    Raises:
        ConfigError: the tokens are no grid.
    """
    if len(output) != count and len(output) % count == 0:
        output = output.unflatten(0, (count, -1)).mean(1)
    if output.ndim == 5:
        return output.mean(2)
    if output.ndim == 4:
        first, second, third = output.shape[1:]
        last = _fits(first, second, sides) and not _fits(second, third, sides)
        return output.movedim(-1, 1) if last else output
    if output.ndim == 3:
        height, width = _grid(output.shape[1], sides)
        return output[:, -height * width :].transpose(1, 2).unflatten(2, (height, width))
    return output[:, :, None, None]


def _fits(height: int, width: int, sides: Sequence[int]) -> bool:
    """True for sizes of maps in the proportions of the image, but for less than a cell."""
    return abs(height * sides[1] - width * sides[0]) < max(sides)


def _grid(tokens: int, sides: Sequence[int]) -> tuple[int, int]:
    """Height and width of the grid of the last tokens, as many of them as fit."""
    for cells in range(tokens, max(0, tokens - MOST_EXTRA - 1), -1):
        height = max(1, round((cells * sides[0] / sides[1]) ** 0.5))
        if cells % height == 0 and _fits(height, cells // height, sides):
            return height, cells // height
    raise ConfigError(f"--layer gives {tokens} tokens, which are no grid of cells of the image: choose another layer")
