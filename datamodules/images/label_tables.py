"""Tables of images: CSV files with a row for each image, its path and what is said of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datamodules.base import Split
from datamodules.file_names import locate
from datamodules.finding import SUFFIXES as IMAGE_SUFFIXES
from datamodules.split_names import NAMES, split_lists, split_named
from datamodules.text_files import Row, header_word, read_rows
from modules.contracts import DataError

SUFFIXES = (".csv", ".tsv")
PATH = ("path", "image", "file", "filename", "filepath", "imagepath", "imagename", "imagefile", "img", "id", "imageid")
SPLIT = ("split", "subset", "set")
"""Headers of the columns, in lower case without signs, the likeliest first."""


class Entry(NamedTuple):
    """One row: its file and line, the image as it is called there, its file, and the other cells by header."""

    where: str
    name: str
    path: Path
    cells: dict[str, str]


class LabelTables:
    """Rows of the tables of a folder: `train.csv`, `val.csv` and `test.csv`, or one table with a column for the split.

    Between columns are commas, semicolons, tabs or bars. Paths go from the folder of the table on, or from `images` or
    the folder of the split in it; absolute ones of another machine are found by their ends, and ids without their
    suffix.

    Args:
        root: the folder, or one table.
        skip: leave out rows whose image is not there, in place of refusing them.

    Attributes: `root`, the folder; `entries`, the rows of each split; `headers`, the columns beside path and split as
    each table has them; `missing`, a line for each row that was left out.

    Raises:
        DataError: no table, or none with a path; a row of another length, without a path, or of a split that is none;
            images that are not there.
    """

    def __init__(self, root: Path, skip: bool):
        tables = find_tables(root)
        self.root = root if root.is_dir() else root.parent
        self.entries: dict[Split, list[Entry]] = {split: [] for split in NAMES}
        self.headers: list[list[str]] = []
        self.missing: list[str] = []
        rows = 0
        for known, file in tables.items():
            for split, where, name, cells in self._rows(file, known):
                folders = [self.root, file.parent, self.root / "images", self.root / split]
                rows, path = rows + 1, _image(name, [*dict.fromkeys(folders)])
                if path is None:
                    self.missing.append(f"{where}: there is no image {name!r}")
                else:
                    self.entries[split].append(Entry(where, name, path, cells))
        if self.missing and not skip:
            raise DataError(
                f"{len(self.missing):,} of {rows:,} images are not there: {self.missing[0]}, looked for below "
                f"{self.root}: mend or remove the rows, or set --data.on_error skip"
            )
        self.entries = {split: entries for split, entries in self.entries.items() if entries}
        if not self.entries:
            raise DataError(f"{', '.join(map(str, tables.values()))} lists no image that is there")

    def _rows(self, file: Path, known: Split | None) -> Iterator[tuple[Split, str, str, dict[str, str]]]:
        """Split, place, path and other cells of each row."""
        header, *rows = [*read_rows(file)] or [Row(1, [])]
        plain = [header_word(cell) for cell in header.cells]
        path, split = (next((plain.index(one) for one in names if one in plain), None) for names in (PATH, SPLIT))
        if path is None:
            raise DataError(
                f"{file} has the columns {', '.join(header.cells) or 'of an empty file'}: the one of the images is "
                "called path (or image, file, filename)"
            )
        others = [i for i in range(len(plain)) if i not in (path, split)]
        self.headers.append([header.cells[i] for i in others])
        if twice := next((name for name in self.headers[-1] if self.headers[-1].count(name) > 1), None):
            raise DataError(f"{file} has two columns {twice!r}: rename or remove one")
        for line, cells in rows:
            where = f"{file} line {line:,}"
            if len(cells) != len(plain):
                raise DataError(
                    f'{where} has {len(cells)} cells, its header {len(plain)}: quote texts "..." with signs'
                )
            if not cells[path]:
                raise DataError(f"{where} has no path: fill it, or remove the row")
            said = split_named(cells[split]) if split is not None and known is None else known or "train"
            if said is None:
                raise DataError(f"{where} has the split {cells[split or 0]!r}: it is train, val or test")
            yield said, where, cells[path], {header.cells[i]: cells[i] for i in others}


def _image(name: str, folders: list[Path]) -> Path | None:
    """File of an image by its path, with or without suffix."""
    found = locate(name, folders)
    if found is None and Path(name).suffix.lower() not in IMAGE_SUFFIXES:
        found = next((path for end in sorted(IMAGE_SUFFIXES) if (path := locate(name + end, folders))), None)
    return found


def find_tables(root: Path) -> dict[Split | None, Path]:
    """Tables by split; null is one for all splits.

    Raises:
        DataError: no such folder or file, two tables for a split, or none that is clear.
    """
    if root.is_file():
        return {None: root}
    if not root.is_dir():
        raise DataError(f"data.root {root} is neither a folder nor a table")
    found: dict[Split | None, Path] = {}
    for suffix in SUFFIXES:
        for split, file in split_lists(root, suffix).items():
            if other := found.get(split):
                raise DataError(f"{other} and {file} are both for {split}: leave one of them in {root}")
            found[split] = file
    others = sorted(file for file in root.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found and len(others) == 1:
        return {None: others[0]}
    if not found:
        several = f": of {others[0].name} and {others[1].name} name one by --data.root" if others else ""
        raise DataError(f"{root} has no table train.csv (nor .tsv){several}")
    return found
