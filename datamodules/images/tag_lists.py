"""Tags in the cells of a table: lists, and columns of 0 and 1."""

import re
from collections.abc import Sequence

from datamodules.images.label_tables import Entry
from modules.contracts import ConfigError, DataError

FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
SIGNS = "|;,"
QUOTED = re.compile(r"""'[^']*'|"[^"]*"|[^\s,'"][^,'"]*""")
"""Part of a list in brackets: in quotes, or between commas."""


def read_lists(entries: Sequence[Entry], column: str, separator: str | None) -> tuple[dict[str, list[str]], list[str]]:
    """Tags of each row by its place, and a line on how they were read.

    Args:
        entries: the rows.
        column: header of the lists, such as "cat|dog" or, as pandas writes them, "['cat', 'dog']".
        separator: between the tags; null takes brackets as they are, and else the first of | ; , that occurs.

    Raises:
        ConfigError: an empty separator.
    """
    if separator == "":
        raise ConfigError("data.separator is empty: give the sign between the tags of a list, or leave it out")
    cells = {entry.where: entry.cells[column] for entry in entries}
    listed = {where for where, cell in cells.items() if separator is None and cell[:1] + cell[-1:] in ("[]", "{}")}
    plain = [cell for where, cell in cells.items() if where not in listed]
    sign = separator or next((one for one in SIGNS if any(one in cell for cell in plain)), None)
    said = {where: _parts(cell, sign, where in listed) for where, cell in cells.items()}
    how = "in brackets" if listed else f"separated by {sign!r}" if sign else "one in a row"
    if not (sign or listed) and any(" " in cell for cell in plain):
        how += " with its blanks (--data.separator ' ' splits there)"
    others = [name for name in dict.fromkeys(name for entry in entries for name in entry.cells) if name != column]
    more = f"; not read: {', '.join(map(repr, others))}" if others else ""
    return said, [f"tags are those of the column {column!r}, {how}{more}"]


def _parts(cell: str, sign: str | None, listed: bool) -> list[str]:
    if listed:
        parts = [part.strip("'\"") for part in QUOTED.findall(cell[1:-1])]
    else:
        parts = cell.split(sign) if sign else [cell]
    return [tag for part in parts if (tag := part.strip())]


def is_flag(cell: str) -> bool:
    """True for 0 and 1 as a cell has them."""
    return cell.lower() in FLAGS


def read_flag(entry: Entry, column: str) -> int:
    """Cell of a column of 0 and 1.

    Raises:
        DataError: it is neither.
    """
    cell = entry.cells[column]
    if not is_flag(cell):
        raise DataError(
            f"{entry.where} has {cell!r} in the column {column!r}, but a column of a tag has 0 or 1 "
            "(and one with a list of tags is called tags)"
        )
    return FLAGS[cell.lower()]
