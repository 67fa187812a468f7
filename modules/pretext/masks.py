"""Masks of patches for pretraining: random ones (MAE), blocks (iBOT, BEiT), targets and context (I-JEPA).

All are drawn on the CPU; the number of random values depends on sizes alone, so that equal generators stay equal.
"""

import math

import torch
from torch import Tensor

from modules.contracts import ConfigError

BLOCKS, SMALLEST, ASPECT = 16, 4, 0.3  # attempts per image, cells, and lowest ratio of sides, as BEiT's


def random_patches(images: int, patches: int, ratio: float, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Visible and hidden patches, int64 (images, K) and (images, patches - K), uniform, as many in every image.

    Args:
        images: number of images.
        patches: of each image, >= 2.
        ratio: share of hidden patches, (0, 1).
        generator: null takes torch's own.

    Raises:
        ConfigError: none or all of so few patches would be hidden.
    """
    order = torch.rand(images, patches, generator=generator).argsort(1)
    count = round(ratio * patches)
    if not 0 < count < patches:
        raise ConfigError(
            f"model.mask_ratio {ratio:g} hides {count} of {patches} patches: choose one from {1 / patches:.4g} to "
            f"{1 - 1 / patches:.4g}, or a larger --data.image_size"
        )
    return order[:, count:], order[:, :count]


def tubes(places: Tensor, steps: int, cells: int) -> Tensor:
    """The same places at every step of time, int64 (B, steps * K), of places (B, K) among `cells` of a frame."""
    return (torch.arange(steps)[:, None] * cells + places[:, None]).flatten(1)


def block_mask(images: int, grid: tuple[int, int], hidden: int, generator: torch.Generator | None) -> Tensor:
    """Blockwise masks, bool (images, rows * columns), of rectangles until `hidden` cells are covered in every image.

    Bao et al. 2022 (BEiT), algorithm 1. Cells that no rectangle fits into are drawn one by one.

    Args:
        images: number of masks.
        grid: rows and columns.
        hidden: number of hidden cells, 0..rows * columns.
        generator: null takes torch's own.
    """
    rows, columns = grid
    mask = torch.zeros(images, rows, columns, dtype=torch.bool)
    draws = torch.rand(images, BLOCKS, 4, generator=generator).tolist()
    for one, blocks in zip(mask, draws, strict=True):
        left = hidden
        for area, aspect, y, x in blocks:
            cells = SMALLEST + area * (left - SMALLEST)
            ratio = ASPECT ** (2 * aspect - 1)
            if left < SMALLEST:
                break
            height, width = round(math.sqrt(cells * ratio)), round(math.sqrt(cells / ratio))
            if 0 < height <= rows and 0 < width <= columns:
                top, first = int(y * (rows - height + 1)), int(x * (columns - width + 1))
                block = one[top : top + height, first : first + width]
                if (new := block.numel() - int(block.sum())) <= left:
                    block.fill_(True)
                    left -= new
    order = (mask.flatten(1) + torch.rand(images, rows * columns, generator=generator)).argsort(1, descending=True)
    return torch.zeros(images, rows * columns, dtype=torch.bool).scatter_(1, order[:, :hidden], True)


def view_masks(
    images: int, views: int, grid: tuple[int, int], hidden: int, generator: torch.Generator | None
) -> Tensor:
    """Blockwise masks of half of the views, at least one, of each image, bool (images, views, rows * columns).

    See `block_mask`; the views are drawn for each image.
    """
    masks = block_mask(images * views, grid, hidden, generator).unflatten(0, (images, views))
    order = torch.rand(images, views, generator=generator).argsort(1).argsort(1)
    return masks & (order < max(1, views // 2))[..., None]


def context_and_targets(
    images: int,
    grid: tuple[int, int],
    targets: int,
    target_scale: tuple[float, float],
    context_scale: tuple[float, float],
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Context patches, int64 (images, K), and target blocks, int64 (images, targets, L) (Assran et al. 2023, I-JEPA).

    The size of the blocks, and their ratio of sides within 0.75..1.5, are drawn once for all images; their places for
    each. The context is a square block without the targets; K is that of the image with the fewest patches in it, and
    the others lose patches at random. On grids so small that targets cover all of it, a target patch is the context.

    Args:
        images: number of images.
        grid: rows and columns.
        targets: number of target blocks.
        target_scale: least and largest share of a target block, 0..1.
        context_scale: the same of the context block.
        generator: null takes torch's own.
    """
    rows, columns = grid
    scale, aspect, around = torch.rand(3, generator=generator).tolist()
    places = torch.rand(images, targets + 1, 2, generator=generator)
    wanted = _block(places[:, :targets], grid, _between(target_scale, scale), 0.75 * 2**aspect)
    context = _block(places[:, targets:], grid, _between(context_scale, around), 1.0)
    cells = torch.arange(rows * columns)
    free = ~(wanted.flatten(1)[..., None] == cells).any(1)
    inside = (context.flatten(1)[..., None] == cells).any(1) & free
    order = (2 * inside.int() + free.int() + torch.rand(free.shape, generator=generator)).argsort(1, descending=True)
    return order[:, : max(1, int(inside.sum(1).min()))], wanted


def _between(limits: tuple[float, float], draw: float) -> float:
    return limits[0] + draw * (limits[1] - limits[0])


def _block(places: Tensor, grid: tuple[int, int], scale: float, aspect: float) -> Tensor:
    """Cells (..., L) of blocks of one size at `places` (..., 2) in [0, 1)."""
    rows, columns = grid
    height = min(rows, max(1, round(math.sqrt(scale * rows * columns * aspect))))
    width = min(columns, max(1, round(math.sqrt(scale * rows * columns / aspect))))
    free = torch.tensor([rows - height + 1, columns - width + 1])
    top, first = (places * free).long().unbind(-1)
    inside = torch.arange(height)[:, None] * columns + torch.arange(width)
    return (top * columns + first)[..., None] + inside.flatten()
