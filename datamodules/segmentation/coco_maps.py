"""Semantic maps from COCO's formats: outlines in a json, or panoptic PNGs of segment ids."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from datamodules.cache import digest, stamp
from datamodules.segmentation.files import Undecodable
from modules.contracts import IGNORE, DataError, regular


@dataclass(frozen=True)
class Records:
    """One JSON value per image, as bytes in one array, so that workers share them."""

    text: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Any:
        start = self.ends[index - 1] if index else 0
        return json.loads(self.text[start : self.ends[index]].tobytes())


def records(values: Iterable[Any]) -> Records:
    """Pack plain values."""
    texts = [json.dumps(value, separators=(",", ":")).encode() for value in values]
    return Records(np.frombuffer(b"".join(texts), np.uint8), np.cumsum([len(text) for text in texts]))


@dataclass(frozen=True)
class Outlines:
    """Maps drawn when they are read, larger objects below smaller ones.

    Args:
        file: the json they come from.
        images: per image its name, height, width and a list of (class, crowd, segmentation).
        uncovered: class of pixels without object.
    """

    file: Path
    images: Records
    uncovered: int

    def __len__(self) -> int:
        return len(self.images)

    def values(self, index: int) -> np.ndarray:
        """uint8 (H, W) of classes; 255 where a crowd is all that is known."""
        name, height, width, objects = self.images[index]
        try:
            runs = [(c, crowd, run_lengths(outline, height, width)) for c, crowd, outline in objects]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(f"{self.file} has an outline for {name} that is none of COCO's: {error}") from error
        drawn = sorted(runs, key=lambda run: (not run[1], -int(coco.area(run[2]))))  # crowds lowest
        values = np.full((height, width), self.uncovered, np.uint8)
        for number, crowd, run in drawn:
            values[coco.decode(run) > 0] = IGNORE if crowd else number
        return values

    def path(self, index: int) -> Path:
        return Path(f"{self.file} ({self.images[index][0]})")

    def fingerprint(self) -> str:
        return digest([stamp(self.file), self.uncovered])

    def palette(self) -> None:
        return


@dataclass(frozen=True)
class Segments:
    """PNGs in the format of panoptic segmentation: red + 256 green + 65536 blue is the number of a segment, 0 is void.

    Args:
        file: the json with the segments' classes.
        folder: of the PNGs.
        images: per image the PNG's name, and the segments' numbers, ascending, with their classes, 255 for crowds.
    """

    file: Path
    folder: Path
    images: Records

    def __len__(self) -> int:
        return len(self.images)

    def values(self, index: int) -> np.ndarray:
        """uint8 (H, W) of classes, 255 for void."""
        name, numbers, classes = self.images[index]
        found = read_segment_ids(self.folder / name)
        numbers, classes = np.array([0, *numbers]), np.array([IGNORE, *classes], np.uint8)
        places = np.searchsorted(numbers, found).clip(max=len(numbers) - 1)
        if (strange := found[numbers[places] != found]).size:
            raise DataError(f"{self.folder / name} has a segment {strange[0]} that {self.file} does not know")
        return classes[places]

    def path(self, index: int) -> Path:
        return self.folder / self.images[index][0]

    def fingerprint(self) -> str:
        return digest([stamp(self.file), *self._stamps])

    def palette(self) -> None:
        return

    @cached_property
    def _stamps(self) -> list[str]:
        return [stamp(self.path(i)) for i in range(len(self))]


def read_segment_ids(path: Path) -> np.ndarray:
    """Segment ids int64 (H, W) in a panoptic PNG: red + 256 green + 65536 blue, 0 for void.

    Raises:
        Undecodable: the file is missing, damaged or no image.
        DataError: it has no three colors.
    """
    try:
        with Image.open(regular(path)) as file:
            colors = np.asarray(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(f"cannot read {path}: it is no image that can be decoded") from error
    if colors.ndim != 3 or colors.shape[2] != 3:
        raise DataError(f"{path} is no panoptic PNG: those are RGB, whose colors are the numbers of segments")
    return colors @ np.array([1, 256, 65536])


def run_lengths(outline: list | dict, height: int, width: int) -> dict[str, Any]:
    """Compressed run-length encoding (RLE) of a COCO outline, polygons or RLE."""
    if isinstance(outline, list):
        polygons = [points for points in outline if len(points) >= 6]  # fewer than three points cover nothing
        return coco.merge(coco.frPyObjects(polygons or [[0.0] * 6], height, width))
    if outline["size"] != [height, width]:
        raise ValueError(f"its size is {outline['size']}, the image's {[height, width]}")
    return coco.frPyObjects(outline, height, width) if isinstance(outline["counts"], list) else outline
