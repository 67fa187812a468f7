"""Patches and tiles of images, for masked image modeling and jigsaw puzzles."""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from modules.contracts import ConfigError


def hide(image: Tensor, patch: int, ratio: float, generator: torch.Generator | None) -> Tensor:
    """Random patch mask for masked image modeling, bool (B, 1, H, W); the same share of every image.

    Raises:
        ConfigError: the image does not fall into whole patches.
    """
    batch, _, height, width = image.shape
    if height % patch or width % patch:
        raise ConfigError(f"model.patch is {patch}, which does not divide images of {height} x {width} pixels")
    rows, columns = height // patch, width // patch
    count = max(1, round(ratio * rows * columns))
    chosen = torch.rand(batch, rows * columns, generator=generator).argsort(1)[:, :count].to(image.device)
    hidden = torch.zeros(batch, rows * columns, dtype=torch.bool, device=image.device).scatter_(1, chosen, True)
    return hidden.view(batch, 1, rows, columns).repeat_interleave(patch, 2).repeat_interleave(patch, 3)


def standardized(image: Tensor, patch: int) -> Tensor:
    """Per-patch normalization: images (B, C, H, W) with mean 0, deviation 1 in each patch and channel; 0 where flat."""
    cells = image.unfold(2, patch, patch).unfold(3, patch, patch)  # (B, C, rows, columns, patch, patch)
    cells = (cells - cells.mean((-2, -1), keepdim=True)) / (cells.std((-2, -1), keepdim=True) + 1e-2)
    return cells.transpose(3, 4).reshape(image.shape)


def patches(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Patches of images (B, C, H, W), row by row: (B, N, height * width * C), pixel by pixel, channels last.

    Args:
        image: of whole patches.
        size: height and width of a patch.
    """
    cells = image.unfold(2, size[0], size[0]).unfold(3, size[1], size[1])  # (B, C, rows, columns, height, width)
    return cells.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def tubelets(video: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Tubelets of clips (B, C, T, H, W), step by step, row by row: (B, N, frames * height * width * C), channels last.

    Args:
        video: of whole tubelets.
        size: frames, height and width of a tubelet.
    """
    frames, high, wide = size
    cells = video.unfold(2, frames, frames).unfold(3, high, high).unfold(4, wide, wide)
    return cells.permute(0, 2, 3, 4, 5, 6, 7, 1).flatten(4).flatten(1, 3)


def histograms(image: Tensor, cell: int, bins: int) -> Tensor:
    """Histograms of oriented gradients (HOG) of each cell (Dalal and Triggs 2005).

    Each pixel votes with the gradient of its steepest channel, for an unsigned direction; bin 0 is centered on vertical
    edges, the middle bin on horizontal ones.

    Args:
        image: (B, C, H, W).
        cell: side of a cell in pixels; divides H and W.
        bins: directions.

    Returns:
        (B, bins, H / cell, W / cell), of mean squared length 1 over the cells of an image; 0 if it is flat. Cells are
        not normalized one by one: the flat ones would show nothing but noise, as loud as edges.
    """
    around = pad(image, (1, 1, 1, 1), mode="replicate")
    x = around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]
    y = around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]
    strength, channel = torch.hypot(x, y).max(1, keepdim=True)
    turn = torch.atan2(y.gather(1, channel), x.gather(1, channel)) / math.pi
    direction = (turn * bins + 0.5).floor().long() % bins
    votes = image.new_zeros(len(image), bins, *image.shape[-2:]).scatter_(1, direction, strength)
    counts = avg_pool2d(votes, cell)
    return counts / (counts.square().sum(1, keepdim=True).mean((-2, -1), keepdim=True).sqrt() + 1e-6)


def cut(image: Tensor, grid: int, tile: int, generator: torch.Generator | None) -> Tensor:
    """Jigsaw tiles of the cells of a grid, row by row, each from a random place in its cell, with mean 0, deviation 1.

    Args:
        image: (B, C, H, W).
        grid: cells per side.
        tile: side of a tile in pixels.
        generator: random generator; null takes torch's own.

    Returns:
        (B, grid * grid, C, tile, tile).

    Raises:
        ConfigError: a tile is larger than a cell.
    """
    cell = min(image.shape[-2:]) // grid
    if tile > cell:
        raise ConfigError(
            f"model.tile_size is {tile} pixels, but a cell of a {grid} x {grid} grid has {cell}: raise "
            "--data.image_size"
        )
    places = torch.randint(cell - tile + 1, (grid * grid, 2), generator=generator).tolist()
    corners = [(i // grid * cell + y, i % grid * cell + x) for i, (y, x) in enumerate(places)]
    tiles = torch.stack([image[:, :, y : y + tile, x : x + tile] for y, x in corners], dim=1)
    mean, std = tiles.mean((-2, -1), keepdim=True), tiles.std((-2, -1), keepdim=True)
    return (tiles - mean) / (std + 1e-3)
