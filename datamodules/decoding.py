"""Image decoding to upright uint8 RGB (EXIF orientation, 16-bit and float files, palettes, TIFF)."""

import re
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from datamodules.orientation import PNG, UNREADABLE, exif_orientation, orientation_of, turned
from datamodules.tiff import MAGIC, header_of, read_tiff_header, without_orientation
from modules.contracts import DataError

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it reports damaged files by lines of its own
Image.MAX_IMAGE_PIXELS = None  # `data.max_pixels` is the limit, and is checked before the first step

DEEP = ("I", "F")  # beginnings of Pillow's modes of more than 8 bits
STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION

Span = tuple[float, float]
"""Pixel values that become 0 and 255."""


class Unfit(ValueError):
    """A file that three channels of bytes cannot show; the message says why, behind the file's name."""


class Header(NamedTuple):
    """An image file as its first bytes describe it.

    Args:
        shape: height and width, upright.
        orientation: EXIF's, 1..8.
        depth: the type of its values where these are more than 8 bits, such as `uint16` or `float32`; else empty.
        top: the highest value that the file's format allows, where it says so; else 0.
        flaw: the reason why it cannot be shown in three channels; empty if it can.
    """

    shape: tuple[int, int]
    orientation: int = 1
    depth: str = ""
    top: int = 0
    flaw: str = ""


def read_image(path: Path, span: Span | None = None) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3): upright, gray and palette expanded, no alpha.

    EXIF's orientation, an integer from 1 to 8, says which side is up; other values and XMP mean nothing.

    Args:
        span: the values that become 0 and 255 where the file has more than 8 bits; null takes the whole range of
            unsigned integers, and 0..1 of floats.

    Raises:
        DataError: the file is missing, empty, no image, or one that three channels cannot show.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    try:
        values, orientation, depth = _values(data)
    except Unfit as error:
        raise DataError(f"{path} {error}") from error
    except UNREADABLE as error:
        raise DataError(
            f"{path} is not an image that can be decoded: remove it, or set --data.on_error skip"
        ) from error
    try:
        return turned(as_bytes(values, span) if depth else values, orientation)
    except Unfit as error:
        raise DataError(f"{path} {error}") from error


def read_values(path: Path) -> np.ndarray:
    """The pixel values (H, W) or (H, W, 3) of an image file in its own depth, as stored.

    Raises:
        one of UNREADABLE: they cannot be decoded.
    """
    return _values(path.read_bytes())[0]


def read_shape(path: Path) -> tuple[int, int] | None:
    """Height and width of an image file as `read_image` gives it, without decoding; null if it is none."""
    try:
        return read_header(path).shape
    except UNREADABLE:
        return None  # found broken when it is read


def read_header(path: Path) -> Header:
    """Size, orientation and depth of an image file from its header, without decoding.

    Raises:
        one of UNREADABLE: it is no image.
    """
    with path.open("rb") as file:
        start = file.read(32)
        file.seek(0)
        if start[:4] in MAGIC:
            tiff = read_tiff_header(file)
            shape = tiff.shape[::-1] if tiff.orientation >= 5 else tiff.shape
            bits = 8 * -(-tiff.bits // 8)
            depth = f"{tiff.kind}{bits}" if tiff.bits > 8 or tiff.kind != "uint" else ""
            top = (1 << tiff.bits) - 1 if tiff.bits in (10, 12, 14) else 0
            return Header(shape, tiff.orientation, depth, top, tiff.flaw)
        with Image.open(file) as image:
            width, height = image.size
            depth, top = _depth(start, image.mode), 0
            if start[:2] in (b"P5", b"P6") and (highest := _highest(start)) > 255:
                depth, top = "uint16", highest if highest < 65535 else 0
            orientation = exif_orientation(image, file, start)
        return Header((width, height) if orientation >= 5 else (height, width), orientation, depth, top)


def as_bytes(values: np.ndarray, span: Span | None) -> np.ndarray:
    """Values (H, W) or (H, W, 3) of any depth as uint8 (H, W, 3): `span` becomes 0..255, values beyond it are clipped.

    Raises:
        Unfit: floats outside of 0..1, or signed integers, without a span.
    """
    low, high = span or natural_span(values)
    exact = np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64
    scaled = (values.astype(exact) - exact(low)) * exact(255 / (high - low))
    scaled = np.clip(scaled, 0, 255, out=scaled)
    image = np.nan_to_num(np.rint(scaled, out=scaled), copy=False).astype(np.uint8)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def natural_span(values: np.ndarray) -> Span:
    """The whole range of unsigned integers, and 0..1 of floats within it."""
    if values.dtype.kind == "u":
        return 0.0, float(np.iinfo(values.dtype).max)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    raise Unfit(f"has values from {low:g} to {high:g}: say with --data.value_range which become black and white")


def _values(data: bytes) -> tuple[np.ndarray, int, str]:
    """Values as stored, uint8 RGB (H, W, 3) or deeper ones; their orientation yet to be applied; and their depth."""
    if data[:4] in MAGIC:
        return _tiff_values(data)
    orientation = orientation_of(data)
    if _is_deep(data):
        return _channels(_opencv(data, cv2.IMREAD_UNCHANGED)), orientation, "uint16"
    buffer = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(buffer, STORED) if len(data) and data[:4] != b"GIF8" else None
    if image is not None:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), orientation, ""
    with Image.open(BytesIO(data)) as file:  # formats that OpenCV does not know
        values = _pillow(file)
        return values, orientation, "" if values.dtype == np.uint8 else str(values.dtype)


def _tiff_values(data: bytes) -> tuple[np.ndarray, int, str]:
    header = header_of(data)
    if header.flaw:
        raise Unfit(header.flaw)
    if header.bits <= 8 and header.kind == "uint":
        try:
            with Image.open(BytesIO(data)) as file:
                file.info.pop("xmp", None)  # Pillow turns it upright itself, by this too
                return _pillow(file), 1, ""
        except Image.UnidentifiedImageError:
            image = _opencv(without_orientation(data), cv2.IMREAD_COLOR)
            return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), header.orientation, ""
    values = _channels(_opencv(without_orientation(data), cv2.IMREAD_UNCHANGED))
    if header.bits in (10, 12, 14):
        values >>= 16 - header.bits  # OpenCV moves packed ones to the top
    if header.inverted and values.dtype.kind == "u":
        values = ((1 << header.bits) - 1 - values).astype(values.dtype)
    return values, header.orientation, str(values.dtype)


def _pillow(file: Image.Image) -> np.ndarray:
    if file.mode.startswith(DEEP):
        return np.asarray(file)
    if "transparency" in file.info:
        file = file.convert("RGBA")  # not at once to RGB, which warns
    return np.array(file.convert("RGB"))


def _opencv(data: bytes, flags: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None:
        raise ValueError("cannot be decoded")
    return image


def _channels(image: np.ndarray) -> np.ndarray:
    """OpenCV's channels as (H, W) or RGB (H, W, 3), without alpha."""
    if image.ndim == 2:
        return image
    return np.ascontiguousarray(image[..., 2::-1]) if image.shape[2] >= 3 else np.ascontiguousarray(image[..., 0])


def _is_deep(data: bytes) -> bool:
    if data.startswith(PNG):
        return data[24:25] == b"\x10"
    return data[:2] in (b"P5", b"P6") and _highest(data[:256]) > 255


def _depth(start: bytes, mode: str) -> str:
    """The depth of a file that is no TIFF, by its first 32 bytes and Pillow's mode."""
    if start.startswith(PNG):
        return "uint16" if start[24] == 16 else ""
    if not mode.startswith(DEEP):
        return ""
    return "float32" if mode == "F" else "uint16" if mode.startswith("I;16") else "int32"


def _highest(start: bytes) -> int:
    """The highest value of a PGM or PPM file; 0 where it cannot be told."""
    fields = re.sub(rb"#[^\n]*\n", b" ", start).split()
    return int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else 0
