"""Images and their class in a CSV file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.images.image_data import ImageDataModule
from datamodules.images.label_tables import Entry, LabelTables
from datamodules.segmentation.files import encoded
from datamodules.setting_roles import Role
from datamodules.source import Files
from datamodules.split_data import Samples
from datamodules.text_files import header_word
from modules.contracts import ConfigError, DataError, suggest
from modules.contracts.data_info import class_names

LABEL = ("label", "class", "classname", "labelname", "category", "target", "y")
"""Headers of the column of the class, in lower case without signs."""


class ImageTable(ImageDataModule):
    """Images and their class in a CSV file with columns `path` and `label`, a row for each image.

    `root/train.csv`, `val.csv` and `test.csv`, or one table with a column `split`; without both, `val_split` of the
    rows becomes the validation set. Between columns are commas, semicolons, tabs or bars. Several classes for an image
    are of `ImageTags`.

    Args:
        root: the folder of the tables and images, or one table.
        column: header of the column of the class; null takes one called label, class, category or target.
        classes: names in order of their index; null sorts those of the training rows.

    Raises:
        ConfigError: classes with a name twice.
        DataError: no table, a row without path or class, an image in two classes, one that is not there, or a class
            that training lacks.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "column": "samples", "classes": "input"}

    def __init__(self, root: str, column: str | None = None, classes: list[str] | None = None, **kwargs):
        super().__init__(**kwargs)
        tables = LabelTables(Path(root).expanduser(), self.on_error == "skip")
        names = [_column(header, column, tables) for header in tables.headers]
        of = {split: _labels(entries, names) for split, entries in tables.entries.items()}
        self.classes = ordered(next(iter(of.values())).values(), classes)
        self.skipped = [*tables.missing]
        self._sources: dict[Split, Samples] = {}
        for split, labels in of.items():
            places = {entry.path: entry.where for entry in tables.entries[split]}
            indices = [index_of(label, self.classes, places[path]) for path, label in labels.items()]
            self._sources[split] = Files(tables.root, encoded(tables.root, labels), np.array(indices))

    def sources(self) -> dict[Split, Samples]:
        return self._sources


def ordered(found: Iterable[str], given: list[str] | None) -> list[str]:
    """Classes in order of their index: those given, or those found, numbers by size and words by letters.

    Raises:
        ConfigError: a name is given twice.
    """
    names = class_names(given, "data.classes")
    if names is None:
        return sorted(set(found), key=lambda name: (0, int(name), "") if re.fullmatch(r"\d+", name) else (1, 0, name))
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"data.classes has {twice!r} twice")
    return names


def index_of(name: str, classes: list[str], where: str) -> int:
    """Index of a class.

    Raises:
        DataError: there is none of that name; says where.
    """
    if name not in classes:
        raise DataError(
            f"{where} has a class {name!r}, which is none of the {len(classes)} of training{suggest(name, classes)}: "
            "mend the row, or list all by --data.classes"
        )
    return classes.index(name)


def _column(header: list[str], wanted: str | None, tables: LabelTables) -> str:
    """Header of the column of the class.

    Raises:
        DataError: there is none.
    """
    plain = {header_word(name): name for name in reversed(header)}
    found = wanted if wanted in header else None if wanted else next((plain[n] for n in LABEL if n in plain), None)
    if found is None:
        asked = f"no column {wanted!r}" if wanted else "no column label (or class, category, target)"
        raise DataError(
            f"the table in {tables.root} has {asked}, but {', '.join(header) or 'none beside the path'}: name it by "
            "--data.column, or read several classes per image by --data ImageTags"
        )
    return found


def _labels(entries: list[Entry], columns: list[str]) -> dict[Path, str]:
    """Class of each image.

    Raises:
        DataError: an empty cell, or an image in two classes.
    """
    labels: dict[Path, str] = {}
    places: dict[Path, str] = {}
    for entry in entries:
        label = next(entry.cells[name] for name in columns if name in entry.cells)
        if not label:
            raise DataError(f"{entry.where} has no class: fill it, or remove the row")
        if labels.setdefault(entry.path, label) != label:
            raise DataError(
                f"{entry.where} says that {entry.name} is {label!r}, and {places[entry.path]} that it is "
                f"{labels[entry.path]!r}: remove one, or read several classes per image by --data ImageTags"
            )
        places.setdefault(entry.path, entry.where)
    return labels
