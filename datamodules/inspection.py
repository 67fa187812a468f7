"""Inspection of image files before the first step: size, depth, damage, and a checksum to find equal ones."""

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from datamodules.cache import cached, digest, stamp
from datamodules.decoding import Header, decode_values, image_header
from datamodules.duplicates import TAIL
from datamodules.orientation import JPEG, PNG, UNREADABLE
from modules.contracts import regular

MAX_PIXELS = 178_956_970  # Pillow's own limit
ENDS = ((JPEG, b"\xff\xd9"), (PNG, b"IEND\xaeB`\x82"))  # last bytes of whole files; others are decoded once to be sure
ANNOUNCED_FILES = 20_000  # files that take long enough to say so
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")

_limit: ContextVar[int] = ContextVar("max_pixels", default=MAX_PIXELS)


class Inspection(NamedTuple):
    """Findings about one image file.

    Args:
        shape: height and width, upright; (0, 0) where it is no image.
        depth: as in `Header`.
        top: as in `Header`.
        low, high: its lowest and highest value where it has a depth; else 0.
        several: true if it holds several frames, of which the first is used.
        tail: a number that differs where size or last bytes of two files do.
        problem: the reason why it cannot be used, to be read behind its name; empty if it can.
        orientation: EXIF's, 1..8.
    """

    shape: tuple[int, int] = (0, 0)
    depth: str = ""
    top: int = 0
    low: float = 0.0
    high: float = 0.0
    several: bool = False
    tail: int = 0
    problem: str = ""
    orientation: int = 1


@contextmanager
def pixel_limit(pixels: int) -> Iterator[None]:
    """Context in which files of more pixels are problems: decoding some small files would fill the memory."""
    token = _limit.set(pixels)
    try:
        yield
    finally:
        _limit.reset(token)


def inspect_all(paths: Sequence[Path]) -> list[Inspection]:
    """Inspect every file; the results are cached for the next run on the same files."""
    limit = _limit.get()

    def look() -> list[Inspection]:
        if len(paths) >= ANNOUNCED_FILES:
            from lightning.pytorch.utilities import rank_zero_info  # takes seconds, which few files do not

            rank_zero_info(f"  inspecting {len(paths):,} image files, only this once")
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(lambda path: inspect(path, limit), paths))

    key = digest([limit, *(stamp(path) if path.is_file() else f"{path} missing" for path in paths)])
    return [Inspection(tuple(row[0]), *row[1:]) for row in cached("inspections", key, look)]


def inspect(path: Path, limit: int = MAX_PIXELS) -> Inspection:
    """Inspect one file. JPEG and PNG files of 8 bits are decoded only if they look truncated or odd.

    Args:
        limit: pixels at most.
    """
    try:
        file = regular(path).open("rb")
    except OSError as error:
        return Inspection(problem="is not there" if isinstance(error, FileNotFoundError) else f"{error.strerror}")
    with file:
        return inspect_content(file, limit)


def inspect_content(file: BinaryIO, limit: int = MAX_PIXELS) -> Inspection:
    """Inspect an open file, as `inspect`."""
    try:
        start, size = file.read(32), file.seek(0, os.SEEK_END)
        file.seek(-min(size, TAIL), os.SEEK_END)
        end = file.read()
    except OSError as error:  # such as a folder
        return Inspection(problem=f"{error.strerror}")
    found = Inspection(tail=zlib.crc32(end, size))
    if not size:
        return found._replace(problem="is empty")
    try:
        header = image_header(file)
    except UNREADABLE:
        return found._replace(problem=_no_image(start))
    height, width = header.shape
    found = found._replace(
        shape=header.shape,
        depth=header.depth,
        top=header.top,
        problem=header.flaw,
        orientation=header.orientation,
        several=header.several,
    )
    if height * width > limit:
        said = f"has {width:,} x {height:,} = {height * width:,} pixels, more than --data.max_pixels {limit:,}"
        return found._replace(problem=f"{said} (raise it to read them)")
    if header.flaw:
        return found
    complete = any(start.startswith(first) and end.endswith(last) for first, last in ENDS)
    try:
        return found if complete and not header.depth else _decoded(file, header, found)
    except UNREADABLE:
        return found._replace(problem="cannot be decoded")


def _decoded(file: BinaryIO, header: Header, found: Inspection) -> Inspection:
    file.seek(0)
    if not header.depth:
        with Image.open(file) as image:  # Pillow, unlike OpenCV, refuses files that are cut short
            image.load()
        return found
    values = decode_values(file.read())
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        return found._replace(problem="has values that are no finite numbers: replace them")
    return found._replace(low=low, high=high)


def _no_image(start: bytes) -> str:
    if start[4:12] in HEIC:
        return "is HEIC, as phones write it: convert it, or `pip install pillow-heif`"
    return "is no image that can be decoded"
