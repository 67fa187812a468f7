"""Settings of test-time augmentation (TTA) and tiled inference."""

from collections.abc import Sequence
from dataclasses import dataclass

from modules.contracts import ConfigError


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
