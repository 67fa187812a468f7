"""Random parameters for on-device augmentation, a function of (seed, epoch, index, view); drawn in the loader.

Same distributions as albumentations, but for a whole batch at once. Each number is a function of the key and its place
in the row alone, by integer arithmetic and float64, so device, batch, worker and process change nothing.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.augment import Chances
from modules.augmentation.views import NEUTRAL

ATTEMPTS = 10  # to place a crop before the whole image is taken
RATIO = 4 / 3  # largest aspect ratio of a crop
# the uniform numbers of one view
CROP, FLIP, JITTER, FACTORS, ORDER, GRAY, BLUR, SIGMA = np.cumsum([0, 4 * ATTEMPTS, 1, 1, 4, 4, 1, 1])
COUNT = SIGMA + 1
SPLITMIX_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Kind:
    """Views of one kind: the global or the local ones of multi-crop.

    Args:
        count: views of each image.
        size: their side in pixels.
        crop: range of the crop's area as a fraction of the image; null takes the largest centered square.
        chances: of everything else.
    """

    count: int
    size: int
    crop: tuple[float, float] | None
    chances: Chances


@dataclass(frozen=True)
class AugmentationParameters:
    """Random augmentation parameters for the views of images of one shape (H, W)."""

    shape: tuple[int, int]
    kinds: list[Kind]

    def __call__(self, keys: list[tuple[int, int, int]]) -> list[Tensor]:
        """Draw for keys (seed, epoch, index): per kind (B, kind.count, 15), the columns of `ViewParameters`.

        float32, as int32 of the same bits: a trainer of half precision rounds the floats of a batch on their way.
        """
        first, drawn = 0, []
        for kind in self.kinds:
            views = np.arange(first, first + kind.count)
            every = np.array([(*key, view) for key in keys for view in views])
            rows = draw(uniforms(every, COUNT), self.shape, kind)
            drawn.append(torch.from_numpy(rows.reshape(len(keys), kind.count, -1).view(np.int32)))
            first += kind.count
        return drawn


def uniforms(keys: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """`count` numbers in [0, 1) for each of N keys (N, K): splitmix64 (Steele et al. 2014) seeded with the key."""
    state = np.zeros(len(keys), np.uint64)
    for part in keys.T.astype(np.uint64):
        state = _mixed((state ^ part) + SPLITMIX_INCREMENT)
    words = _mixed(state[:, None] + np.arange(1, count + 1, dtype=np.uint64) * SPLITMIX_INCREMENT)
    return (words >> np.uint64(11)) * 2.0**-53


def draw(uniform: NDArray[np.float64], shape: tuple[int, int], kind: Kind) -> NDArray[np.float32]:
    """The columns of `modules.augmentation.views.ViewParameters` (N, 15) from uniform numbers (N, COUNT)."""
    chances, u = kind.chances, uniform
    box = _boxes(u[:, CROP:FLIP].reshape(-1, ATTEMPTS, 4), shape, kind.crop)
    low = np.array([max(0.0, 1 - chances.strength)] * 3 + [-chances.hue])
    high = np.array([1 + chances.strength] * 3 + [chances.hue])
    factors = low + (high - low) * u[:, FACTORS:ORDER]
    factors = np.where(u[:, JITTER, None] < chances.jitter, factors, NEUTRAL)
    low, high = chances.sigma
    blurred = u[:, BLUR] < chances.blur_at(kind.size)
    columns = [
        box,
        u[:, FLIP, None] < chances.flip,
        factors,
        np.argsort(u[:, ORDER:GRAY], axis=1),
        u[:, GRAY, None] < chances.gray,
        np.where(blurred, low + (high - low) * u[:, SIGMA], 0)[:, None],
    ]
    return np.concatenate(columns, axis=1, dtype=np.float32, casting="unsafe")


def _boxes(u: NDArray[np.float64], shape: tuple[int, int], area: tuple[float, float] | None) -> NDArray[np.float64]:
    """Random resized crops x0, y0, x1, y1 (N, 4): the first attempt (N, ATTEMPTS, 4) that lies within the image."""
    height, width = shape
    if area is None:
        side = min(shape)
        return np.tile(_centered(shape, side, side), (len(u), 1))
    target = (area[0] + (area[1] - area[0]) * u[..., 0]) * height * width
    ratio = np.exp((2 * u[..., 1] - 1) * math.log(RATIO))
    wide, high = np.rint(np.sqrt(target * ratio)), np.rint(np.sqrt(target / ratio))
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    top, left = np.floor((height - high + 1) * u[..., 2]), np.floor((width - wide + 1) * u[..., 3])
    boxes = np.stack([left, top, left + wide, top + high], axis=-1)
    chosen = boxes[np.arange(len(u)), fits.argmax(1)]
    return np.where(fits.any(1)[:, None], chosen, _largest(shape))


def _largest(shape: tuple[int, int]) -> NDArray[np.float64]:
    """The largest centered box of a ratio that crops may have."""
    height, width = shape
    return _centered(shape, min(height, round(width * RATIO)), min(width, round(height * RATIO)))


def _centered(shape: tuple[int, int], height: int, width: int) -> NDArray[np.float64]:
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return np.array([left, top, left + width, top + height], np.float64)


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64: every bit of the result depends on every bit of the word."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
