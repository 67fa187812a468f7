"""EXIF orientation of image files: reading it, and turning images upright."""

import os
import struct
import zlib
from io import BytesIO
from typing import BinaryIO

import cv2
import numpy as np
from PIL import ExifTags, Image

JPEG, PNG, WEBP = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"
UNREADABLE = (
    *(ArithmeticError, AssertionError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, struct.error, zlib.error, cv2.error),
)
"""Exceptions of Pillow and OpenCV for files that are damaged, or no images."""


def exif_orientation(image: Image.Image, file: BinaryIO, start: bytes) -> int:
    """EXIF orientation 1..8 of a file that Pillow opened; 1 where there is none, or an invalid one.

    Pillow's `getexif` would also take XMP's, which viewers and annotation tools ignore.
    """
    if start.startswith(PNG):
        place = file.tell()
        if not png_has_exif(file):  # Pillow would decode all of it, because it may stand at the end
            return 1
        file.seek(place)
        image.load()
    raw = image.info.get("exif")
    if raw is None and (text := image.info.get("Raw profile type exif")):  # as ImageMagick writes it
        raw = bytes.fromhex("".join(text.split("\n")[3:]))
    if not raw:
        return 1
    exif = Image.Exif()
    try:
        exif.load(raw)
        value = exif.get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an image (H, W, ...) as stored upright."""
    if orientation == 1:
        return image
    if orientation >= 5:
        image = image.swapaxes(0, 1)  # mirrored at the diagonal, which is 5
    flips = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}
    return np.ascontiguousarray(np.flip(image, flips[orientation]))


def orientation_of(data: bytes) -> int:
    """EXIF orientation of a file in memory; opens it only where there may be one."""
    marks = {JPEG: (b"Exif\0\0",), PNG: (b"eXIf", b"Raw profile"), WEBP: (b"EXIF",)}
    known = next((found for start, found in marks.items() if data.startswith(start)), None)
    if known is not None and not any(mark in data for mark in known):
        return 1
    file = BytesIO(data)
    with Image.open(file) as image:
        return exif_orientation(image, file, data[:32])


def png_has_exif(file: BinaryIO) -> bool:
    """True if a PNG file has EXIF; reads chunk headers only."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"eXIf":
            return True
        text = kind in (b"tEXt", b"zTXt", b"iTXt")
        if text and file.read(min(length, 11)) == b"Raw profile":
            return True
        file.seek(length + 4 - (min(length, 11) if text else 0), os.SEEK_CUR)
    return False
