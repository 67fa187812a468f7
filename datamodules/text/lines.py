"""Reading of text files line by line: gzip, UTF-8 and UTF-16, broken lines."""

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

from datamodules.text_files import unicode_of
from modules.contracts import DataError, regular

GZIP = b"\x1f\x8b"
MARK = b"\xef\xbb\xbf"  # some editors write it in front of UTF-8


class Lines(NamedTuple):
    """The lines of a file.

    Args:
        texts: as they are, without line ends.
        broken: the fault of lines that are not UTF-8 or hold a NUL character, by index; their text is empty.
    """

    texts: list[str]
    broken: dict[int, str]


def read_lines(path: Path) -> Lines:
    """The lines of a text file, plain or gzip, in UTF-8 or UTF-16. Only a line feed, or CR LF, ends a line.

    Raises:
        DataError: the file is missing, damaged or empty.
    """
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return split_lines(data, str(path))


def split_lines(data: bytes, name: str) -> Lines:
    """The lines of a file's bytes; `name` is its name in messages."""
    data = _unpacked(data, name)
    try:
        texts, broken = data.decode("utf-8").removesuffix("\n").split("\n"), {}
    except UnicodeDecodeError:
        texts, broken = _line_by_line(name, data.removesuffix(b"\n").split(b"\n"))
    for i, text in enumerate(texts if b"\0" in data else ()):
        if "\0" in text:
            broken[i], texts[i] = f"{name} line {i + 1:,}: it holds a NUL character: delete it", ""
    return Lines([text.removesuffix("\r") for text in texts], broken)


def normalize_blanks(texts: list[str]) -> list[str]:
    """Normalize whitespace: single blanks, none at either end."""
    return [" ".join(text.split()) for text in texts]


def _unpacked(data: bytes, name: str) -> bytes:
    try:
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file ({error}): copy it again") from error
    encoding = unicode_of(data)
    if encoding != "utf-8-sig":
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise DataError(
                f"{name} looks like {encoding.upper()}, but is damaged ({error}): save it as UTF-8"
            ) from error
    data = data.removeprefix(MARK)
    if not data.strip():
        raise DataError(f"{name} is empty: it holds one sentence per line")
    return data


def _hint(row: bytes) -> str:
    """A hint on the encoding that a line may be in; empty if it is not that either."""
    try:
        return f", in Windows-1252 the line is {row.decode('cp1252').strip()!r}"
    except UnicodeDecodeError:
        return ""


def _line_by_line(name: str, rows: list[bytes]) -> tuple[list[str], dict[int, str]]:
    texts, broken, offset = [], {}, 0
    for number, row in enumerate(rows):
        try:
            texts.append(row.decode("utf-8"))
        except UnicodeDecodeError as error:
            texts.append("")
            byte, place = row[error.start], offset + error.start
            broken[number] = (
                f"{name} line {number + 1:,}: byte 0x{byte:02x} at offset {place:,} is not UTF-8{_hint(row)}"
            )
        offset += len(row) + 1
    return texts, broken
