"""Lists and tables in text files: encodings, byte order marks, line ends, separators."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from modules.contracts import DataError, regular

MARKS = {b"\xff\xfe\x00\x00": "utf-32", b"\x00\x00\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
"""Byte order marks, the longer ones first, and the encoding that each announces."""
SEPARATORS = ",;\t|"


class Row(NamedTuple):
    """A row of a table: the number of its last line, from 1, and its cells."""

    line: int
    cells: list[str]


def unicode_of(data: bytes) -> str:
    """The Unicode encoding of a file's first bytes: by its byte order mark, or by the zeros of UTF-16 without one."""
    if mark := next((mark for mark in MARKS if data.startswith(mark)), None):
        return MARKS[mark]
    even, odd = data[:200:2], data[1:200:2]
    few = 4 * max(even.count(0), odd.count(0)) < len(odd) and _is_utf8(data[:200])  # a stray zero in plain text
    if b"\0" in data[:200] and not few and not (even.count(0) and odd.count(0)):
        return "utf-16-le" if odd.count(0) else "utf-16-be"
    return "utf-8-sig"


def _is_utf8(start: bytes) -> bool:
    """True if bytes are UTF-8, perhaps cut within the last character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def decode(data: bytes, name: str) -> str:
    """Decode text in UTF-8, UTF-16, UTF-32, or else in Windows-1252; line ends become line feeds.

    Spreadsheets of Western Europe write the last, which is warned of once.

    Args:
        data: the bytes of a file.
        name: of the file, for messages.

    Raises:
        DataError: the text is in none of these encodings.
    """
    encoding = unicode_of(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        text = _western(data, name, error)
    if "\0" in text:
        raise DataError(f"{name} is no text file: it has zero bytes")
    return re.sub(r"\r\n?", "\n", text)


def read_text(path: Path) -> str:
    """The text of a file, decoded as `decode` says.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return decode(data, str(path))


def read_lines(path: Path, empty: bool = False) -> list[str]:
    """The lines of a list that are not blank, without blanks at their ends.

    Args:
        path: the list.
        empty: allow an empty list.

    Raises:
        DataError: the file cannot be read, is no text, or holds nothing.
    """
    lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
    if not lines and not empty:
        raise DataError(f"the list {path} is empty: fill it, or remove it")
    return lines


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a table that are not blank, its header first.

    Separated by comma, semicolon, tab or bar, whichever its first line has most of.

    Raises:
        DataError: the file cannot be read, is no text, or has a quote that does not end.
    """
    text = read_text(path).lstrip("\n")
    first = text.partition("\n")[0]
    declared = re.fullmatch(r"sep=(.)", first.strip())  # a first line for Excel
    separator = declared[1] if declared else max(SEPARATORS, key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in rows:
            if any(map(str.strip, cells)) and not (declared and rows.line_num == 1):
                yield Row(rows.line_num, [cell.strip() for cell in cells])
    except csv.Error as error:
        raise DataError(f"{path} is no CSV after line {rows.line_num:,}: {error}") from error


def header_word(cell: str) -> str:
    """A header in lower case without signs, by which its column is known."""
    return re.sub("[^a-z]", "", cell.lower())


def _western(data: bytes, name: str, error: UnicodeDecodeError) -> str:
    try:
        if b"\0" in data:
            raise error
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise DataError(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02x} at offset {error.start:,}) and not Windows-1252: "
            f"if it is a text file, save it as UTF-8"
        ) from error
    _say(name)
    return text


@cache
def _say(name: str) -> None:
    rank_zero_info(f"  {name} is not UTF-8: read as Windows-1252; save it as UTF-8 if names look wrong")
