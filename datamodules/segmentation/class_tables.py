"""Class tables of annotation tools beside masks: names with values or colors (labelmap.txt, class_dict.csv, ...)."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datamodules.split_names import split_folders
from datamodules.text_files import read_lines, read_rows
from modules.contracts import DataError
from modules.contracts.palette import RGB

COLUMNS = {
    "name": ("class", "name", "classname", "label"),
    "value": ("value", "pixelvalue", "id", "index"),
    "red": ("red", "r"),
    "green": ("green", "g"),
    "blue": ("blue", "b"),
}
"""Headers of a CSV, besides capitals and signs."""
COLOR = ("red", "green", "blue")
FILES = ("classes.txt", "labelmap.txt", "label_colors.txt", "classes.csv", "_classes.csv", "class_dict.csv")


class ClassTable(NamedTuple):
    """Classes in the order of a file.

    Args:
        file: the table.
        names: of the classes.
        values: the number of each in masks; null for none.
        colors: of each, or null; masks are in these colors where there are no numbers.
    """

    file: Path
    names: list[str]
    values: list[int] | None = None
    colors: list[RGB] | None = None


def read_class_table(root: Path) -> ClassTable | None:
    """The table of classes in a folder, or in that of a split: `classes.txt`, a name or a number and a name per line.

    `labelmap.txt` of CVAT, `name:red,green,blue::`; `label_colors.txt` of CamVid, red, green, blue and a name; or a CSV
    with a class and its pixel value or color (`_classes.csv` of Roboflow, `class_dict.csv`). Null where there is none.

    Raises:
        DataError: a table that cannot be read, with the line, or two classes of one name, number or color.
    """
    folders = [root, *split_folders(root).values()]
    file = next((place / name for place in folders for name in FILES if (place / name).is_file()), None)
    if file is None:
        return None
    read = {"classes.txt": _numbered, "labelmap.txt": _label_map, "label_colors.txt": _label_colors}
    table = read.get(file.name, _csv)(file)
    for what, found in (("called", table.names), ("of value", table.values), ("of color", table.colors)):
        if twice := _twice(found or ()):
            raise DataError(f"{file} has two classes {what} {twice[0]!r}: each needs its own")
    return table


def _numbered(file: Path) -> ClassTable:
    lines = read_lines(file)
    numbered = [re.fullmatch(r"(\d+)[\s:,]+(\S.*)", line) for line in lines]
    if not all(numbered):
        return ClassTable(file, lines)
    return ClassTable(file, [m[2] for m in numbered], [int(m[1]) for m in numbered])


def _label_map(file: Path) -> ClassTable:
    return _colored(file, r"(?P<name>.*?):\s*(?P<rgb>\d+\s*,\s*\d+\s*,\s*\d+)\s*(:.*)?", "name:red,green,blue::")


def _label_colors(file: Path) -> ClassTable:
    return _colored(file, r"(?P<rgb>\d+\s+\d+\s+\d+)\s+(?P<name>\S.*)", "red green blue name")


def _colored(file: Path, pattern: str, form: str) -> ClassTable:
    names, colors = [], []
    for line in read_lines(file):
        if line.startswith("#"):
            continue
        match = re.fullmatch(pattern, line)
        if match is None:
            raise DataError(f"{file} has a line {line!r}: it holds `{form}` per line")
        names.append(match["name"].strip())
        colors.append(_color(re.split(r"[\s,]+", match["rgb"]), file, line))
    if not names:
        raise DataError(f"{file} names no class: it holds `{form}` per line")
    return ClassTable(file, names, colors=colors)


def _csv(file: Path) -> ClassTable:
    header, *rows = [*read_rows(file)] or [None]
    cells = [re.sub("[^a-z]", "", cell.lower()) for cell in (header.cells if header else [])]
    found = {part: next((cells.index(a) for a in names if a in cells), None) for part, names in COLUMNS.items()}
    colored = all(found[part] is not None for part in COLOR)
    if found["name"] is None or (found["value"] is None and not colored) or not rows:
        raise DataError(f"{file} is no table of classes: it needs a column class, and value or red, green and blue")
    width = 1 + max(place for place in found.values() if place is not None)
    if short := next((row for row in rows if len(row.cells) < width), None):
        raise DataError(f"{file} line {short.line} has only {len(short.cells)} cells: complete it")
    names = [row.cells[found["name"]] for row in rows]
    values = colors = None
    if found["value"] is not None:
        values = [_number(row.cells[found["value"]], file, f"line {row.line}") for row in rows]
    if colored:
        colors = [_color([row.cells[found[part]] for part in COLOR], file, f"line {row.line}") for row in rows]
        colors = colors if values is None or not _twice(colors) else None
    return ClassTable(file, names, values, colors)


def _number(text: str, file: Path, where: str) -> int:
    if not text.isdecimal():
        raise DataError(f"{file} {where} has the pixel value {text!r}: write a whole number")
    return int(text)


def _color(parts: list[str], file: Path, where: str) -> RGB:
    if not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise DataError(f"{file} {where!r} has the color {', '.join(parts)}: write three numbers, 0 to 255")
    red, green, blue = map(int, parts)
    return red, green, blue


def _twice(values: Iterable) -> list:
    values = list(values)
    return [value for value in values if values.count(value) > 1]
