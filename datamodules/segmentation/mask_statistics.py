"""Statistics of semantic maps: sizes and pixels per value; every map is read once."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.cache import cached, digest, stamp
from datamodules.decoding import read_header, read_shape
from datamodules.pairs import Pairs
from datamodules.segmentation.files import Undecodable
from datamodules.source import Files
from modules.contracts import DataError

ANNOUNCED_MAPS = 1000  # maps that take long enough to say so


class Row(NamedTuple):
    """One pair: height and width of map and image, and the numbers in the map with their pixels."""

    shape: tuple[int, int]
    image: tuple[int, int]
    values: list[int]
    pixels: list[int]


MaskStatistics = list[Row | None]
"""One row per pair; null where image or map cannot be decoded."""


def count_pixels(pairs: Pairs) -> MaskStatistics:
    """Count all pairs; the counts are cached on disk for the same files.

    Raises:
        DataError: a map that holds colors.
    """
    known = pairs.maps.fingerprint()
    if known is None:
        return [_count(pairs, i) for i in range(len(pairs))]
    images = digest(stamp(pairs.images.root / pairs.id(i)) for i in range(len(pairs)))
    rows = cached("masks", digest([known, images]), lambda: _count_all(pairs))
    return [None if row is None else Row(tuple(row[0]), tuple(row[1]), row[2], row[3]) for row in rows]


def check(pairs: Pairs, statistics: MaskStatistics) -> None:
    """Check that maps fit their images and hold classes or void.

    Raises:
        DataError: the first map of another size than its image, or with a number that is neither.
    """
    wrong = [(i, row) for i, row in enumerate(statistics) if row and row.shape != row.image]
    if wrong:
        rest = [str(pairs.maps.path(i)) for i, _ in wrong[1:]]
        more = f"; {len(rest):,} more masks are like it: {'; '.join(rest[:4])}" if rest else ""
        more += "; ..." if len(rest) > 4 else ""
        raise DataError(f"{_other_size(pairs, *wrong[0])}{more}")
    strange = [(i, v, n) for i, row in enumerate(statistics) if row for v, n in _strange(pairs, row)]
    if not strange:
        return
    index, value, pixels = strange[0]
    masks = len({i for i, _, _ in strange})
    more = f" (one of {masks} such masks)" if masks > 1 else ""
    numbers = sorted(pairs.legend.values)
    consecutive = numbers == list(range(numbers[0], numbers[-1] + 1))
    classes = f"{numbers[0]} to {numbers[-1]}" if consecutive else f"{len(numbers)} other numbers"
    raise DataError(
        f"the mask {pairs.maps.path(index)} has {pixels:,} pixel{'s' * (pixels > 1)} of value {value}{more}, "
        f"but the classes are {classes}: {pairs.legend.remedy}"
    )


def found_values(statistics: MaskStatistics) -> list[int]:
    """The values that occur in any map, ascending."""
    return sorted({value for row in statistics if row for value in row.values})


def class_counts(pairs: Pairs, statistics: MaskStatistics, indices: np.ndarray) -> np.ndarray:
    """int64 (N, C + 1): pixels of each class in the pairs `indices`; the last column counts void."""
    counts = np.zeros((len(indices), len(pairs.legend.values) + 1), np.int64)
    for n, index in enumerate(indices):
        row = statistics[index]
        columns = np.minimum(pairs.legend.table[row.values], counts.shape[1] - 1)
        np.add.at(counts[n], columns, row.pixels)
    return counts


def common_shape(statistics: MaskStatistics, indices: np.ndarray) -> tuple[int, int] | None:
    """Height and width of all images; null when they differ."""
    shapes = {statistics[i].image for i in indices}
    return shapes.pop() if len(shapes) == 1 else None


def _count_all(pairs: Pairs) -> list[Row | None]:
    if len(pairs) >= ANNOUNCED_MAPS:
        rank_zero_info(f"  counting the pixels of {len(pairs):,} masks, this once")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(lambda i: _count(pairs, i), range(len(pairs))))


def _count(pairs: Pairs, index: int) -> Row | None:
    try:
        values = pairs.maps.values(index)
    except Undecodable:
        return None
    images = pairs.images
    image = read_shape(images.root / pairs.id(index)) if isinstance(images, Files) else images.shape
    if image is None:
        return None
    if values.dtype == np.uint8:
        pixels = np.bincount(values.ravel(), minlength=256)
        found = np.flatnonzero(pixels)
        pixels = pixels[found]
    else:
        found, pixels = np.unique(values, return_counts=True)
    return Row(values.shape, tuple(image), found.tolist(), pixels.tolist())


def _strange(pairs: Pairs, row: Row) -> list[tuple[int, int]]:
    return [(v, n) for v, n in zip(row.values, row.pixels, strict=True) if not pairs.legend.knows(v)]


def _other_size(pairs: Pairs, index: int, row: Row) -> str:
    mask, image = pairs.maps.path(index), pairs.images.root / pairs.id(index)
    sizes = f"the mask {mask} is {row.shape[1]} x {row.shape[0]} pixels, but its image {image} is"
    sizes += f" {row.image[1]} x {row.image[0]}"
    if row.shape == row.image[::-1] and _lies(image):
        return f"{sizes} when turned upright as its EXIF says: turn the mask too"
    return f"{sizes}: both must be of one size"


def _lies(path: Path) -> bool:
    return read_header(path).orientation >= 5
