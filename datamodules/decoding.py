"""Image decoding to upright uint8 RGB (EXIF orientation, 16-bit and float files, palettes, TIFF)."""

import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from datamodules.orientation import JPEG, PNG, UNREADABLE, WEBP, exif_orientation, orientation_of, turned
from datamodules.png import check_chunks
from datamodules.tiff import MAGIC, header_of, read_tiff_header, without_orientation
from modules.contracts import DataError, regular

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it reports damaged files by lines of its own
Image.MAX_IMAGE_PIXELS = None  # `data.max_pixels` is the limit, and is checked before the first step

DEEP = ("I", "F")  # beginnings of Pillow's modes of more than 8 bits
BYTES = (JPEG, b"GIF8", b"BM", WEBP, b"P1", b"P4")  # beginnings of files that never have more than 8 bits
PNM = (b"P5", b"P6")  # binary; Pillow reads those of text
CODESTREAM = b"\xff\x4f\xff\x51"  # beginning of JPEG 2000's, with the number of bits
JP2 = (b"\0\0\0\x0cjP  ", CODESTREAM)
START = 4096  # bytes that hold a header; JPEG 2000's may lie behind a color profile
OVERSHOOT = 0.1  # of the range, which bicubic resizing leaves at edges
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
        top: the highest value that the file allows, where it is below that of its type; else 0.
        flaw: the reason why it cannot be shown in three channels; empty if it can.
        several: true if it holds several frames, of which the first is used, as of an animation.
    """

    shape: tuple[int, int]
    orientation: int = 1
    depth: str = ""
    top: int = 0
    flaw: str = ""
    several: bool = False


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
        data = regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return decode_image(data, str(path), span)


def decode_image(data: bytes, name: str, span: Span | None = None) -> np.ndarray:
    """The content of an image file as `read_image` gives it; `name` is for messages."""
    try:
        values, orientation, depth = _values(data)
        return turned(as_bytes(values, span) if depth else values, orientation)
    except Unfit as error:
        raise DataError(f"{name} {error}") from error
    except UNREADABLE as error:
        said = "is not an image that can be decoded: remove it, or set --data.on_error skip"
        raise DataError(f"{name} {said}") from error


def decode_values(data: bytes) -> np.ndarray:
    """The pixel values (H, W) or (H, W, 3) of an image file's content in its own depth, as stored.

    Raises:
        one of UNREADABLE: they cannot be decoded.
    """
    return _values(data)[0]


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
    with regular(path).open("rb") as file:
        return image_header(file)


def image_header(file: BinaryIO) -> Header:
    """The header of an open image file, read from its beginning on; as `read_header`."""
    file.seek(0)
    start = file.read(START)
    if start.startswith(JP2) and CODESTREAM not in start:
        start += file.read()  # behind a color profile
    file.seek(0)
    if start[:4] in MAGIC:
        tiff = read_tiff_header(file)
        shape = tiff.shape[::-1] if tiff.orientation >= 5 else tiff.shape
        bits = 8 * -(-tiff.bits // 8)
        depth = f"{tiff.kind}{bits}" if tiff.bits > 8 or tiff.kind != "uint" else ""
        top = (1 << tiff.bits) - 1 if tiff.bits in (10, 12, 14) else 0
        return Header(shape, tiff.orientation, depth, top, tiff.flaw)
    with Image.open(file) as image:
        if image.format == "EPS":
            raise ValueError("a program, which Pillow hands to Ghostscript")
        width, height = image.size
        depth, top = _depth(start) or (_depth_of_mode(image.mode), 0)
        several = image.format != "MPO" and getattr(image, "is_animated", False)
        orientation = exif_orientation(image, file, start)
    return Header((width, height) if orientation >= 5 else (height, width), orientation, depth, top, several=several)


def as_bytes(values: np.ndarray, span: Span | None) -> np.ndarray:
    """Values (H, W) or (H, W, 3) of any depth as uint8 (H, W, 3): `span` becomes 0..255, values beyond it are clipped.

    Raises:
        Unfit: floats far outside of 0..1, or signed integers, without a span.
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
    if values.dtype.kind == "f" and _within(low, high, 1.0):
        return 0.0, 1.0
    raise Unfit(f"has values from {low:g} to {high:g}: say with --data.value_range which become black and white")


def float_span(low: float, high: float) -> Span | None:
    """Range 0..1 or 0..255 of floats by their lowest and highest value; null for other ranges, such as meters.

    Values that reach half of 0..255 at most are no 8-bit values. The overshoot of bicubic resizing is allowed for.
    """
    if _within(low, high, 1.0):
        return 0.0, 1.0
    return (0.0, 255.0) if high > 127.5 and _within(low, high, 255.0) else None


def _within(low: float, high: float, top: float) -> bool:
    return low >= -OVERSHOOT * top and high <= (1 + OVERSHOOT) * top


def _values(data: bytes) -> tuple[np.ndarray, int, str]:
    """Values as stored, uint8 RGB (H, W, 3) or deeper ones; their orientation yet to be applied; and their depth."""
    if data[:4] in MAGIC:
        return _tiff_values(data)
    check_chunks(data)
    orientation = orientation_of(data)
    known = _depth(data)
    if known and known[0]:
        return _channels(_opencv(data, cv2.IMREAD_UNCHANGED)), orientation, known[0]
    if known and data[:4] != b"GIF8" and (image := cv2.imdecode(np.frombuffer(data, np.uint8), STORED)) is not None:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return as_bytes(image, (0, known[1])) if known[1] else image, orientation, ""
    with Image.open(BytesIO(data)) as file:  # formats that OpenCV does not know, or not in their own depth
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
            return _channels(_opencv(without_orientation(data), cv2.IMREAD_COLOR)), header.orientation, ""
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


def _depth(start: bytes) -> tuple[str, int] | None:
    """Depth and top, as in `Header`, of formats whose first bytes say them; null for others."""
    if start.startswith(PNG):
        return ("uint16" if start[24:25] == b"\x10" else ""), 0
    if highest := _highest(start[:START]):
        return "uint16" if highest > 255 else "", highest if highest not in (255, 65535) else 0
    if start.startswith(JP2):
        at = start.find(CODESTREAM)
        bits = (start[at + 42] & 127) + 1 if at >= 0 else 8  # of the first channel
        return ("uint16", (1 << bits) - 1 if bits < 16 else 0) if bits > 8 else ("", 0)
    return ("", 0) if start.startswith(BYTES) else None


def _depth_of_mode(mode: str) -> str:
    if not mode.startswith(DEEP):
        return ""
    return "float32" if mode == "F" else "uint16" if mode.startswith("I;16") else "int32"


def _highest(start: bytes) -> int:
    """The highest value that a binary PGM or PPM file allows; 0 for other files, and where it cannot be told."""
    if start[:2] not in PNM:
        return 0
    fields = re.sub(rb"#[^\n]*\n", b" ", start).split()
    return int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else 0
