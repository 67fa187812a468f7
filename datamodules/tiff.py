"""Headers of TIFF files: size, orientation, depth, bands and pages, without decoding."""

from io import BytesIO
from typing import BinaryIO, NamedTuple

from PIL.TiffImagePlugin import ImageFileDirectory_v2

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ORIENTATION = 274
KINDS = {1: "uint", 2: "int", 3: "float"}  # by sample format
COLORS = {2: 3, 6: 3, 8: 3, 9: 3, 10: 3, 5: 4}  # channels by photometric interpretation; of others 1
REDUCED, MASK = 1, 4  # kinds of pages that are no images of their own
MOST_PAGES = 100_000


class TiffHeader(NamedTuple):
    """The first page of a TIFF file.

    Args:
        shape: height and width as stored.
        orientation: 1..8; 1 where the tag is missing or out of range.
        bits: of one sample.
        kind: `uint`, `int` or `float`.
        inverted: true if 0 is white.
        flaw: the reason why it cannot be shown in three channels; empty if it can.
    """

    shape: tuple[int, int]
    orientation: int
    bits: int
    kind: str
    inverted: bool
    flaw: str


def read_tiff_header(file: BinaryIO) -> TiffHeader:
    """The header of the first page.

    Raises:
        ValueError, SyntaxError, OSError, struct.error: it is no TIFF file.
    """
    tags, pages = _pages(file)
    shape = tags[257], tags[256]
    bits = tags.get(258) or (1,)
    orientation = tags.get(ORIENTATION)
    valid = isinstance(orientation, int) and 1 <= orientation <= 8
    kind = KINDS.get((tags.get(339) or (1,))[0], "uint")
    flaw = _flaw(tags, max(bits)) or (
        f"has {pages:,} pages of one size, of which one would be seen: write each into a file of its own"
        if pages > 1
        else ""
    )
    return TiffHeader(shape, orientation if valid else 1, max(bits), kind, tags.get(262) == 0, flaw)


def without_orientation(data: bytes) -> bytes:
    """The file with orientation 1: OpenCV turns some kinds of TIFF by the tag, and cannot read others."""
    order = "little" if data[:2] == b"II" else "big"
    big = data[2:3] == b"+" or data[3:4] == b"+"
    start, width, head, entry = (8, 8, 8, 20) if big else (4, 4, 2, 12)

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)

    first = number(start, width)
    for at in range(first + head, first + head + entry * number(first, head), entry):
        if number(at, 2) == ORIENTATION:
            value = at + (12 if big else 8)
            return data[:value] + (1).to_bytes(2, order) + data[value + 2 :]
    return data


def _pages(file: BinaryIO) -> tuple[ImageFileDirectory_v2, int]:
    """The tags of the first page, and the number of pages as large as it."""
    header = file.read(8)
    if header[:4] not in MAGIC:
        raise SyntaxError("not a TIFF file")
    if 43 in header[2:4]:
        header += file.read(8)
    first, count, seen, at = None, 0, set(), ImageFileDirectory_v2(header).next
    while at and at not in seen and len(seen) < MOST_PAGES:
        seen.add(at)
        tags = ImageFileDirectory_v2(header)
        file.seek(at)
        tags.load(file)
        first, at = first or tags, tags.next
        kind = tags.get(254) or 0
        count += not kind & (REDUCED | MASK) and (tags.get(256), tags.get(257)) == (first.get(256), first.get(257))
    if first is None or not all(isinstance(first.get(side), int) for side in (256, 257)):
        raise SyntaxError("no page with a size")
    return first, count


def _flaw(tags: ImageFileDirectory_v2, bits: int) -> str:
    samples, extra = tags.get(277) or 1, tags.get(338)
    colors = COLORS.get(tags.get(262), 1)
    if colors == 4 and bits > 8:
        return f"holds CMYK of {bits} bits: convert it to RGB"
    alpha = samples == colors + 1 and (extra is None or extra[0] in (1, 2))
    if samples in (1, 3) or samples == colors or alpha:
        return ""
    return (
        f"has {samples} bands, and what is seen here has three channels: write the three bands that are to be seen, "
        f"or one, into files of their own"
    )


def header_of(data: bytes) -> TiffHeader:
    """The header of a file in memory."""
    return read_tiff_header(BytesIO(data))
