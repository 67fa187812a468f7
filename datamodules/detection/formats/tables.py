"""CSV reader for detection: one line per object, with the image, the corners of its box and its class."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from datamodules.base import Split
from datamodules.detection.formats.images import OnError, Places
from datamodules.detection.formats.merge import merge, split_of
from datamodules.detection.formats.names import Names
from datamodules.detection.formats.raw import Image, Object, Raw, number
from datamodules.detection.objects import Annotations
from datamodules.split_names import NAMES, split_folders, split_named
from datamodules.text_files import Row as Line
from datamodules.text_files import read_rows
from modules.contracts import DataError

BOX = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = {
    "path": ("path", "filename", "filepath", "file", "image", "imageid", "imagepath", "imagename", "imagefile", "img"),
    "xmin": ("xmin", "x1", "left"),
    "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"),
    "ymax": ("ymax", "y2", "bottom"),
    "class": ("class", "label", "labelname", "classname", "category", "name"),
}
EXTRA = {
    "split": ("split", "subset", "set"),
    "width": ("width", "imagewidth"),
    "height": ("height", "imageheight"),
    "crowd": ("iscrowd", "isgroupof"),
}
"""Aliases of the columns, in lower case without signs; those of EXTRA may be missing."""
NEEDS = "train.csv and val.csv, or one csv with a column split, with the columns path, xmin, ymin, xmax, ymax and class"
Row = dict[str, str]


def find(root: Path) -> dict[Split | None, Path]:
    """Find the csv of each split, by name or folder; null is one with a column for the split, or for training alone."""
    files = [
        f
        for pattern in ("*.csv", "*/*.csv")
        for f in sorted(root.glob(pattern))
        if COLUMNS.keys() <= _columns(f).keys()
    ]
    named: dict[Split | None, Path] = {}
    for file in files:
        split = split_of(file, root)
        if split and split in named:
            raise DataError(f"{named[split]} and {file} are both for {split}: leave one of them in the folder")
        named[split] = file
    return {k: v for k, v in named.items() if k or len(named) == 1}


def read_csv(
    root: Path, masks: bool = False, on_error: OnError = "raise", classes: list[str] | None = None
) -> Annotations:
    """Images and objects of csv files; boxes are corners in pixels, or in fractions of the image if none exceeds 1.

    A line with an image and no box is an image without objects. Regions marked `IsGroupOf` or `iscrowd` are crowds.

    Args:
        masks: csv files have none.
        classes: in the order of their indices; null takes all names found, sorted.

    Raises:
        DataError: no csv, columns that are missing, a class not in `classes`, or as `merge`.
    """
    if masks:
        raise DataError(f"{root} has csv files, which have boxes only: outlines are in COCO json or id-PNGs")
    files = find(root)
    if not files:
        raise DataError(f"{root} has no csv of boxes: {miss(root) or f'that is {NEEDS}'}")
    names, described, raws = Names(classes), _descriptions(root), {}
    for known, file in files.items():
        for line, row in _rows(file):
            split = known or _split(row, f"{file} line {line}")
            if split not in raws:
                raws[split] = _Table(root, file, split, names, described)
            raws[split].add(line, row)
    raws = {split: _with_unit(raws[split].raw) for split in NAMES if split in raws}
    return merge(root, raws, *names.sort(raws), masks, on_error)


def _with_unit(raw: Raw) -> Raw:
    """Images and objects with the unit of the boxes: fractions where none is above 1."""
    values = [v for o in raw.objects for v in o.box if isinstance(v, float) and abs(v) < float("inf")]
    return replace(raw, fractions=bool(values) and max(values) <= 1)


def miss(root: Path) -> str:
    """A sentence on the missing columns of a csv that has some of them; empty if there is none."""
    for file in sorted([*root.glob("*.csv"), *root.glob("*/*.csv")]):
        try:
            next(read_rows(file), None)
        except DataError as error:
            return str(error)
        known = _columns(file)
        if len(known) > 1:
            lacks = [f"{part} (or {', '.join(COLUMNS[part][1:4])})" for part in COLUMNS if part not in known]
            return f"{file} has no column {' and no column '.join(lacks)}"
    return ""


class _Table:
    """A split under construction, line by line."""

    def __init__(self, root: Path, file: Path, split: Split, names: Names, described: dict[str, str]):
        folders = [root, root / "images", file.parent, file.parent / "images", root / "JPEGImages"]
        places = (split_folders(folder).get(split) for folder in (root, root / "images"))
        own = [place for place in places if place]
        self.places, self.file, self.names, self.described = Places([*own, *folders]), file, names, described
        self.raw, self.rows = Raw(str(file), "line {}"), {}

    def add(self, line: int, row: Row) -> None:
        name, where = row["path"], f"{self.file} line {line}"
        if name not in self.rows:
            self.rows[name] = len(self.rows)
            sides = [row.get(side, "") for side in ("height", "width")]
            shape = (int(sides[0]), int(sides[1])) if all(s.isdecimal() and int(s) for s in sides) else None
            path = self.places.find(name)
            self.raw.images.append(Image(f"{where} ({name})", path, str(self.file), shape))
        if not any(row[edge] for edge in BOX):
            return
        box, given = [number(row[edge]) for edge in BOX], row["class"]
        label = self.names.label(self.described.get(given, given), where) if given else 0
        crowd = row.get("crowd", "").lower() in ("1", "true")
        flaw = None if given else "it has no class"
        self.raw.objects.append(Object(self.rows[name], line, box, label, crowd, flaw=flaw))


def _columns(file: Path) -> dict[str, int]:
    """Indices of a csv's known columns; empty if it has none."""
    try:
        header = [re.sub("[^a-z0-9]", "", cell.lower()) for cell in next(read_rows(file), Line(1, [])).cells]
    except DataError:  # some other file, of no concern
        return {}
    known = COLUMNS | EXTRA
    return {
        part: header.index(alias)
        for part in known
        if (alias := next((alias for alias in known[part] if alias in header), None))
    }


def _rows(file: Path) -> Iterator[tuple[int, Row]]:
    """Lines, counted from 1 with the header, that are not blank."""
    columns = _columns(file)
    for line, cells in islice(read_rows(file), 1, None):
        if len(cells) <= max(columns.values()):
            raise DataError(f"{file} line {line} has only {len(cells)} cells: complete it")
        yield line, {part: cells[i] for part, i in columns.items()}


def _split(row: Row, where: str) -> Split:
    said = row.get("split", "train")
    split = split_named(said)
    if split is None:
        raise DataError(f"{where} is of split {said!r}: write train, val or test")
    return split


def _descriptions(root: Path) -> dict[str, str]:
    """Class names by code, from a file of class descriptions as in Open Images; empty without one."""
    file = next(iter(sorted(root.glob("*class-descriptions*.csv"))), None)
    return {cells[0]: cells[1] for _, cells in read_rows(file) if len(cells) == 2} if file else {}
