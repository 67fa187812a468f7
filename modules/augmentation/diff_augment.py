"""DiffAugment: differentiable augmentation of real and generated images."""

from typing import Literal

import torch
from torch import Tensor

Change = Literal["color", "translation", "cutout"]
PARAMETERS = 7  # uniform numbers of one image
SHIFT, HOLE = 1 / 8, 1 / 2  # of the side


def diff_augment(image: Tensor, parameters: Tensor, changes: list[Change]) -> Tensor:
    """DiffAugment: differentiable augmentation, so that a discriminator does not overfit few images (Zhao et al. 2020).

    `color` moves brightness by up to 0.5 of -1..1, saturation by 0..2 and contrast by 0.5..1.5 times; `translation`
    shifts by up to an eighth of the side, with zeros at the edge; `cutout` sets a square of half the side to zero.

    Args:
        image: (B, C, H, W) in -1..1.
        parameters: (B, 7) in 0..1, random parameters.
        changes: augmentations to apply, in any order.
    """
    if "color" in changes:
        image = _color(image, *(parameters[:, i, None, None, None] for i in range(3)))
    if "translation" in changes:
        image = _translation(image, parameters[:, 3], parameters[:, 4])
    if "cutout" in changes:
        image = _cutout(image, parameters[:, 5], parameters[:, 6])
    return image


def _color(image: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    image = image + brightness - 0.5
    gray = image.mean(1, keepdim=True)
    image = (image - gray) * (2 * saturation) + gray
    mean = image.mean((1, 2, 3), keepdim=True)
    return (image - mean) * (contrast + 0.5) + mean


def _translation(image: Tensor, down: Tensor, right: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    rows, columns = _moved(down, height, image), _moved(right, width, image)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))  # all that comes from outside comes from its border
    index = torch.arange(len(image), device=image.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _moved(draw: Tensor, side: int, image: Tensor) -> Tensor:
    """Source row in the padded image of each row, (B, side)."""
    most = int(side * SHIFT + 0.5)
    shift = (draw * (2 * most + 1)).floor().long() - most
    return (torch.arange(side, device=image.device) - shift[:, None] + 1).clamp(0, side + 1)


def _cutout(image: Tensor, down: Tensor, right: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    hole = _covered(down, height, image)[:, :, None] & _covered(right, width, image)[:, None, :]
    return image * ~hole[:, None]


def _covered(draw: Tensor, side: int, image: Tensor) -> Tensor:
    """Mask bool (B, side) of the rows within the cutout square, whose center lies anywhere in the image."""
    size = int(side * HOLE + 0.5)
    first = (draw * (side + 1 - size % 2)).floor().long() - size // 2
    place = torch.arange(side, device=image.device)
    return (place >= first[:, None]) & (place < first[:, None] + size)
