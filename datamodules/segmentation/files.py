"""Semantic mask files: one whole number per pixel, gray or palette PNG."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.cache import digest, stamp
from modules.contracts import DataError, regular
from modules.contracts.palette import RGB

MODES = ("1", "L", "P", "I;16", "I;16L", "I;16B", "I")  # one number per pixel


class Undecodable(DataError):
    """A file that is damaged, or no image at all."""


@dataclass(frozen=True)
class MaskFiles:
    """Map files below `root`: `paths` as bytes in one array, so that workers share them."""

    root: Path
    paths: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def values(self, index: int) -> np.ndarray:
        """Whole numbers (H, W)."""
        return read_mask(self.path(index))

    def path(self, index: int) -> Path:
        """The map's file, for messages."""
        return self.root / os.fsdecode(self.paths[index])

    def fingerprint(self) -> str:
        """A digest that changes when a file does."""
        return digest(stamp(self.path(i)) for i in range(len(self)))

    def palette(self) -> list[RGB] | None:
        """The colors that the first file has for its numbers, if it has any."""
        return read_palette(self.path(0))


@dataclass(frozen=True)
class MaskArrays:
    """Maps in memory, uint8 (N, H, W); `prefix` names them in messages."""

    maps: np.ndarray
    prefix: str

    def __len__(self) -> int:
        return len(self.maps)

    def values(self, index: int) -> np.ndarray:
        return self.maps[index]

    def path(self, index: int) -> Path:
        return Path(f"{self.prefix}/{index:06d}")

    def fingerprint(self) -> None:
        """Null: maps in memory are counted faster than hashed."""
        return

    def palette(self) -> None:
        return


def encoded(root: Path, paths: Iterable[Path]) -> np.ndarray:
    """Paths as bytes, from `root` on where they lie below it."""
    return np.array([os.fsencode(p.relative_to(root) if p.is_relative_to(root) else p) for p in paths])


def read_mask(path: Path) -> np.ndarray:
    """A map file as whole numbers (H, W): the indices of a palette, not its colors.

    Raises:
        Undecodable: the file is missing, damaged or no image.
        DataError: it holds colors, or was compressed as photographs are.
    """
    with open_mask(path) as file:
        return numbers_of(file, path)


def numbers_of(file: Image.Image, path: Path) -> np.ndarray:
    """The numbers (H, W) in an open map file.

    Raises:
        DataError: it holds colors.
    """
    if file.mode not in MODES:
        raise DataError(
            f"the mask {path} is an image of mode {file.mode}, but a mask holds one number per pixel, the index of "
            f"its class: save it as a gray or palette PNG (mode L or P), or name its colors in labelmap.txt in the "
            f"root, `class:red,green,blue::` per line"
        )
    values = np.asarray(file)
    return values.astype(np.uint8) if values.dtype == bool else values


@contextmanager
def open_mask(path: Path) -> Iterator[Image.Image]:
    """A map file, opened.

    Raises:
        Undecodable: the file is missing, damaged or no image.
        DataError: it was compressed as photographs are.
    """
    try:  # not OpenCV, which turns a palette's indices into colors
        with Image.open(regular(path)) as file:
            if file.format == "JPEG":
                raise DataError(f"the mask {path} is a JPEG, which blurs class indices into others: save masks as PNG")
            if getattr(file, "is_animated", False):
                raise DataError(f"the mask {path} holds several frames: save the one that counts as a file of its own")
            yield file
    except OSError as error:
        why = error.strerror or "it is no image that can be decoded"
        raise Undecodable(f"cannot read the mask {path}: {why}") from error
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Undecodable(f"cannot read the mask {path}: it is no image that can be decoded") from error


def read_palette(path: Path) -> list[RGB] | None:
    """The colors of a palette image in order of their numbers; null of any other."""
    try:
        with Image.open(regular(path)) as file:
            colors = file.getpalette("RGB") if file.mode == "P" else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return list(zip(colors[::3], colors[1::3], colors[2::3], strict=True)) if colors else None
