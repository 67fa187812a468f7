"""Files of text, line by line."""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

from modules.contracts import DataError

GZIP = b"\x1f\x8b"
MARK = b"\xef\xbb\xbf"  # some editors write it in front of UTF-8


class Lines(NamedTuple):
    """The lines of a file.

    Args:
        texts: as they are, without what ends them.
        broken: what is wrong with those that are not UTF-8, by index; their text is empty.
    """

    texts: list[str]
    broken: dict[int, str]


def read_lines(path: Path) -> Lines:
    """The lines of a text file, plain or gzip, in UTF-8. Only a line feed, or CR LF, ends a line.

    Raises:
        DataError: the file is missing, damaged or empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return split_lines(data, str(path))


def split_lines(data: bytes, name: str) -> Lines:
    """The same of a file's bytes; `name` is what messages call it."""
    data = _unpacked(data, name)
    try:
        texts, broken = data.decode("utf-8").removesuffix("\n").split("\n"), {}
    except UnicodeDecodeError:
        texts, broken = _line_by_line(name, data.removesuffix(b"\n").split(b"\n"))
    return Lines([text.removesuffix("\r") for text in texts], broken)


def whole_lines(path: Path) -> list[str]:
    """The lines of a file of which every one is needed.

    Raises:
        DataError: as `read_lines`, or a line is not UTF-8.
    """
    lines = read_lines(path)
    for sentence in lines.broken.values():
        raise DataError(f"{sentence}: convert the file to UTF-8")
    return lines.texts


def tidy(texts: list[str]) -> list[str]:
    """Blanks of any kind as one blank each, none at either end."""
    return [" ".join(text.split()) for text in texts]


def _unpacked(data: bytes, name: str) -> bytes:
    try:
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}): copy it again") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{name} is UTF-16, as its first two bytes say: convert it to UTF-8")
    data = data.removeprefix(MARK)
    if not data.strip():
        raise DataError(f"{name} is empty: it holds one sentence per line")
    return data


def _line_by_line(name: str, rows: list[bytes]) -> tuple[list[str], dict[int, str]]:
    texts, broken, offset = [], {}, 0
    for number, row in enumerate(rows):
        try:
            texts.append(row.decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append("")
            byte, place = row[error.start], offset + error.start
            broken[number] = f"{name} line {number + 1:,}: byte 0x{byte:02x} at offset {place:,} is not UTF-8"
        offset += len(row) + 1
    return texts, broken
