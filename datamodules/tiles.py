"""Overlapping tiles of large training images, each a sample with what is annotated in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, cast

import numpy as np
from pycocotools import mask as coco

from datamodules.detection.crop_resize import THINNEST, areas, clip, inside, move_points
from datamodules.detection.objects import RLE, ObjectFiles, Objects
from datamodules.letterbox import TargetSize, pad
from datamodules.pairs import Pairs
from modules.contracts import IGNORE, ConfigError, check_range, check_sizes
from modules.decoding.dense import starts


@dataclass(frozen=True)
class Tiling:
    """Way in which training images are cut into tiles.

    Args:
        size: side of a tile in pixels; smaller images are one tile.
        overlap: share of a tile that it has in common with the next, at least, in [0, 1).
        empty: share of the tiles without an object that are kept, 0..1.
    """

    size: int
    overlap: float
    empty: float = 1.0

    def objects(self, source: Any, indices: np.ndarray, visible: float, seed: int) -> "ObjectTiles":
        """Tiles of images with objects; see `ObjectTiles`. The seed draws the empty ones that are kept."""
        tiles = ObjectTiles(self._places(source.shapes[indices], indices), self, source, visible)
        return tiles if self.empty == 1 else tiles.without_empty(self.empty, seed)

    def maps(self, source: Any, indices: np.ndarray, shapes: Iterable[tuple[int, int]]) -> "MaskTiles":
        """Tiles of images of these shapes with semantic maps."""
        return MaskTiles(self._places(shapes, indices), self, source)

    def _places(self, shapes: Iterable[Sequence[int]], indices: np.ndarray) -> np.ndarray:
        """Places of all tiles, int64 (M, 3): image, top and left."""
        places = [
            (index, top, left)
            for index, (height, width) in zip(indices, shapes, strict=True)
            for top in starts(height, self.size, self.overlap)
            for left in starts(width, self.size, self.overlap)
        ]
        return np.array(places, np.int64).reshape(-1, 3)


def tiling(size: int | None, overlap: float, image_size: TargetSize, empty: float = 1.0) -> Tiling | None:
    """The tiles that the settings of a data module ask for; null for whole images.

    Raises:
        ConfigError: a tile of no pixels, a share out of range, or images that are resized too.
    """
    check_range("data.tile_overlap", overlap)
    check_range("data.empty_tiles", empty, high=1)
    if overlap >= 1:
        raise ConfigError(f"data.tile_overlap is {overlap:g}, but it is a share of a tile, 0 to below 1")
    if size is None:
        return None
    check_sizes("data", tile_size=size)
    if image_size is not None:
        raise ConfigError(
            f"data.tile_size {size} cuts images in their own size, but data.image_size resizes them: add "
            f"--data.image_size null, and --model.tile_size {size} to see large images in tiles outside of training too"
        )
    return Tiling(size, overlap, empty)


@dataclass(frozen=True)
class Tiles:
    """Tiles as the images of a source of their own.

    Args:
        places: image, top and left of each, int64 (M, 3).
        tiling: how they were cut.
        source: the images.
    """

    places: np.ndarray
    tiling: Tiling
    source: Any
    labels: ClassVar[None] = None

    def __len__(self) -> int:
        return len(self.places)

    def about(self, images: int) -> str:
        """A line of the startup summary about the tiles of so many images."""
        side = self.tiling.size
        return (
            f"training cuts {images:,} images into {len(self):,} tiles of up to {side} x {side} pixels, of which "
            f"neighbors share {100 * self.tiling.overlap:g} %"
        )

    def _part(self, index: int) -> tuple[int, slice, slice]:
        """Image of a tile, and its rows and columns, which may reach beyond a smaller image."""
        image, top, left = self.places[index].tolist()
        return image, slice(top, top + self.tiling.size), slice(left, left + self.tiling.size)

    def id(self, index: int) -> str:
        image, top, left = self.places[index].tolist()
        return f"{self.source.id(image)} (tile at x {left}, y {top})"


@dataclass(frozen=True)
class ObjectTiles(Tiles):
    """Tiles of images with objects.

    Args:
        source: the images.
        visible: share of a box that lies in the tile, at least; objects with less are left out.
    """

    source: ObjectFiles
    visible: float

    def image(self, index: int) -> np.ndarray:
        image, rows, columns = self._part(index)
        return np.ascontiguousarray(self.source.image(image)[rows, columns])

    def shape(self, index: int) -> tuple[int, int]:
        height, width = self.shapes[index].tolist()
        return height, width

    @cached_property
    def shapes(self) -> np.ndarray:
        """Height and width of each tile, int32 (M, 2)."""
        return np.minimum(self.source.shapes[self.places[:, 0]], self.tiling.size).astype(np.int32)

    def objects(self, index: int) -> Objects:
        (_, rows, columns), (here, boxes) = self._part(index), self._inside(index)
        parts = None if here.rles is None else [_cut(rle, rows, columns) for rle in here.rles]
        points = here.keypoints
        if points is not None:
            points = inside(move_points(points, (columns.start, rows.start), (1, 1)), self.shape(index))
        return Objects(boxes, here.labels, here.crowd, areas(boxes), parts, points)

    def _inside(self, index: int) -> tuple[Objects, np.ndarray]:
        """The objects of the image that a tile shows, and their boxes in it."""
        image, rows, columns = self._part(index)
        found = self.source.objects(image)
        moved = found.boxes - np.array([columns.start, rows.start] * 2, np.float32)
        boxes = clip(moved, self.shape(index))
        wide = ((boxes[:, 2:] - boxes[:, :2]) >= THINNEST).all(1)
        kept = wide & (areas(boxes) >= self.visible * areas(moved))
        return found.only(kept), boxes[kept]

    def without_empty(self, share: float, seed: int) -> "ObjectTiles":
        """Leave out tiles without an object, but for a share of them, 0..1, drawn by the seed."""
        drawn = np.random.default_rng(seed).random(len(self))
        kept = [i for i in range(len(self)) if drawn[i] < share or not self._inside(i)[0].crowd.all()]
        return replace(self, places=self.places[kept])


@dataclass(frozen=True)
class MaskTiles(Tiles):
    """Tiles of images with semantic maps; those of smaller images are padded with black, and void in the map."""

    source: Pairs

    def image(self, index: int) -> np.ndarray:
        image, rows, columns = self._part(index)
        return pad(self.source.image(image)[rows, columns], (self.tiling.size, self.tiling.size), 0)

    def mask(self, index: int) -> np.ndarray:
        image, rows, columns = self._part(index)
        return pad(self.source.mask(image)[rows, columns], (self.tiling.size, self.tiling.size), IGNORE)


def _cut(rle: RLE, rows: slice, columns: slice) -> RLE:
    """The part of a mask in a tile."""
    return cast(RLE, coco.encode(np.asfortranarray(coco.decode(cast(Any, rle))[rows, columns])))
