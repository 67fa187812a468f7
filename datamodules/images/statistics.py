"""Mean and standard deviation of training images, by channel and by pixel, for `data.normalization`."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from modules.contracts import Batch, DataError
from modules.contracts.pixels import with_channels

Normalization = Literal["data", "mean_image", "imagenet", "none"]
FIXED = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "none": ((0.0,) * 3, (1.0,) * 3)}


def channel_statistics(batches: Iterable[Batch], channels: int) -> dict[str, Tensor]:
    """`mean` and `std` (C,) of all pixels of images scaled to 0..1, float64, from exact sums.

    Args:
        batches: with `image` uint8 (B, 3, H, W) or (B, 1, H, W).
        channels: C that the network sees: 3, or 1 for brightness.

    Raises:
        DataError: a channel has one value everywhere.
    """
    count, total, squares = 0, torch.zeros(channels, dtype=torch.int64), torch.zeros(channels, dtype=torch.int64)
    for batch in batches:
        pixels = with_channels(batch["image"], channels).to(torch.int64).transpose(0, 1).flatten(1)
        count, total = count + pixels.shape[1], total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
    mean = total.double() / count
    std = (squares.double() / count - mean.square()).clamp_min(0).sqrt()
    if not (std > 0).all():
        raise DataError(
            "data.normalization data divides by the spread of each channel, but one has the same value in all training "
            "images: set data.normalization none"
        )
    return {"mean": mean / 255, "std": std / 255}


def mean_image(batches: Iterable[Batch], channels: int) -> dict[str, Tensor]:
    """`mean_image` (C, H, W) of images scaled to 0..1, its `mean` (C,), and `std` of 1; float64, from exact sums.

    Krizhevsky, Sutskever and Hinton 2012 subtract it, and divide by nothing.

    Args:
        batches: with `image` uint8 (B, 3, H, W) or (B, 1, H, W), all of one size.
        channels: C that the network sees.
    """
    count, total = 0, torch.zeros(1, dtype=torch.int64)
    for batch in batches:
        pixels = with_channels(batch["image"], channels).to(torch.int64)
        count, total = count + len(pixels), total + pixels.sum(0)
    image = total.double() / (255 * count)
    return {"mean": image.mean((1, 2)), "std": torch.ones(channels, dtype=torch.float64), "mean_image": image}


def fixed_statistics(name: Normalization, channels: int) -> dict[str, Tensor]:
    """`mean` and `std` (C,) of ImageNet, or 0 and 1; their average where C is not 3."""
    values = {key: torch.tensor(value).double() for key, value in zip(("mean", "std"), FIXED[name], strict=True)}
    return values if channels == 3 else {key: value.mean().repeat(channels) for key, value in values.items()}


KINDS = {"data": ("channels", channel_statistics), "mean_image": ("mean_image", mean_image)}
"""Normalizations that depend on the training images: name in the cache, and function of their batches."""
