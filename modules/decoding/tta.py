"""Test-time augmentation (TTA) of dense predictions; settings of TTA and of tiled inference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import interpolate

from modules.contracts import ConfigError

Predict = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) to maps (B, C, H, W) of the same height and width."""


def check_tiles(tile_size: int, tile_overlap: float) -> None:
    """Raises ConfigError for tiles of no pixels, or an overlap outside of [0, 1)."""
    if not 0 <= tile_overlap < 1 or tile_size < 1:
        raise ConfigError(
            f"tile_size is {tile_size} and tile_overlap {tile_overlap}: set tile_size >= 1, tile_overlap in [0, 1)"
        )


def check_scales(scales: Sequence[float]) -> None:
    """Raises ConfigError for no scale, or one that is not above 0."""
    if min(scales, default=0) <= 0:
        raise ConfigError(f"scales is {list(scales)}, but needs at least one factor, and only factors above 0")


@dataclass(frozen=True)
class TTA:
    """Test-time augmentation: predictions for flipped and resized copies of an image are merged, outside of training.

    Args:
        flip: also predict for the image mirrored, left to right.
        scales: predict for the image at each of these scales, factors above 0.

    Raises:
        ConfigError: no scale, or one that is not above 0.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        check_scales(self.scales)


@dataclass(frozen=True)
class TiledTTA:
    """Test-time augmentation, with images larger than a tile predicted tile by tile.

    Args:
        tta: flip and scales.
        tile_size: side of the square tiles, in pixels of the scaled image; null takes the whole image in one pass.
        tile_overlap: share of a tile that it has in common with the next, at least, in [0, 1).

    Raises:
        ConfigError: a value out of range.
    """

    tta: TTA = TTA()
    tile_size: int | None = None
    tile_overlap: float = 0.5

    def __post_init__(self) -> None:
        if self.tile_size is not None:
            check_tiles(self.tile_size, self.tile_overlap)


def augmented(predict: Predict, image: Tensor, flip: bool = False, scales: Sequence[float] = (1.0,)) -> Tensor:
    """Test-time augmentation: mean probabilities over scales of the image, and over its horizontal flip.

    Args:
        predict: images of any size to probabilities.
        image: (B, 3, H, W).
        flip: average over the horizontal flip of each scale too.
        scales: factors on height and width, > 0; resized bilinearly, on the way down with antialiasing.

    Returns:
        (B, C, H, W); that of `predict` itself without flip and with a scale of 1 alone.

    Raises:
        ConfigError: no scale, or one that is not above 0.
    """
    check_scales(scales)
    size, total = tuple(image.shape[-2:]), None
    for scale in scales:
        scaled = tuple(max(1, round(side * scale)) for side in size)
        shown = image if scaled == size else interpolate(image, scaled, mode="bilinear", antialias=True)
        found = predict(shown)
        if flip:
            found = (found + predict(shown.flip(-1)).flip(-1)) / 2
        found = found if scaled == size else interpolate(found, size, mode="bilinear")
        total = found if total is None else total + found
    return total / len(scales) if len(scales) > 1 else total
