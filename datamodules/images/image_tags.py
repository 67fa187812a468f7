"""Images with several classes each: tags in a table, objects of a detection data set, or class folders with copies."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from datamodules.base import Split
from datamodules.class_folders import ClassFolders
from datamodules.detection.formats import Found, detect, read
from datamodules.finding import find_images
from datamodules.images.image_table import index_of, ordered
from datamodules.images.label_tables import Entry, LabelTables, find_tables
from datamodules.images.tag_lists import is_flag, read_flag, read_lists
from datamodules.images.tagged_images import TaggedImages
from datamodules.inspection import pixel_limit
from datamodules.segmentation.files import encoded
from datamodules.setting_roles import Role
from datamodules.source import Files
from datamodules.split_data import Samples
from datamodules.text_files import header_word
from modules.contracts import ConfigError, DataError

TAGS = ("tags", "tag", "labels", "classes", "categories", "label", "class", "category", "attributes")
"""Headers of the column of a list of tags, in lower case without signs."""
Sources = dict[Split, Samples]


class ImageTags(TaggedImages):
    """Images with any number of classes each, in a table, a detection data set, or class folders.

    A table (CSV: `root/train.csv`, `val.csv`, `test.csv`, or one with a column `split`) has a column `path`, and a
    column `tags` with a list, "cat|dog" or "['cat', 'dog']", or a column of 0 and 1 for each tag; rows of one image add
    up. Of annotated objects (COCO, YOLO, Pascal VOC, ...) an image has the classes that it shows, crowds and difficult
    ones too. In class folders an image has those in which a file of its name and content lies.

    Args:
        root: the folder, or one table.
        format: `table`, `objects` or `folders`; `auto` takes the first of objects, table and folders that is there.
        classes: names in order of their index, for tables; null sorts those of lists in the training rows, and takes
            columns as they are.
        separator: between the tags of a list; null takes the first of | ; , that occurs.

    Raises:
        ConfigError: classes or a separator for a format that has them.
        DataError: no such data, a cell that is none of 0 and 1, a tag that training lacks, images that are not there.
    """

    roles: ClassVar[dict[str, Role]] = {
        "root": "location",
        "format": "samples",
        "classes": "input",
        "separator": "samples",
    }

    def __init__(
        self,
        root: str,
        format: Literal["auto", "table", "objects", "folders"] = "auto",
        classes: list[str] | None = None,
        separator: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        self._sources: Sources
        self.remarks: list[str] = []
        kind, objects = _format(self.root) if format == "auto" else (format, None)
        if kind != "table" and (classes is not None or separator is not None):
            raise ConfigError(f"data.classes and data.separator are of tables, but {self.root} has {kind}: remove them")
        if kind == "table":
            tables = LabelTables(self.root, self.on_error == "skip")
            self.skipped = [*tables.missing]
            self.classes, self._sources, self.remarks = _from_table(tables, classes, separator)
        elif kind == "objects":
            self._from_objects(objects or detect(self.root))
        else:
            self.folders = ClassFolders(self.root, find_images, "images", "UnlabeledImages")
            self.classes, self.unlabeled = self.folders.classes, self.folders.unlabeled
            self._sources = {split: _united(self.folders, split) for split in self.folders.folders}

    def sources(self) -> Sources:
        return self._sources

    def more(self) -> list[str]:
        return [*super().more(), *self.remarks]

    def _from_objects(self, detected: Found) -> None:
        """Take the classes of the objects of each image."""
        kind, sentence = detected
        with pixel_limit(self.max_pixels):
            found = read(self.root, kind, False, self.on_error)
        self.classes, self.skipped = found.classes, [*found.skipped]
        self.remarks = [sentence, *found.report()]
        self._sources = {}
        for split, source in found.splits.items():
            tags = np.zeros((len(source), len(found.classes)), np.uint8)
            tags[np.repeat(np.arange(len(source)), np.diff(source.starts)), source.classes] = 1
            self._sources[split] = Files(source.files.root, source.files.paths, None, tags=tags)


def _format(root: Path) -> tuple[str, Found | None]:
    """Format of what is below a root, and of its annotations of objects.

    Raises:
        DataError: no such folder, or annotations of objects that cannot be used, and nothing else.
    """
    if not root.exists():
        raise DataError(f"data.root {root} does not exist: give the folder of the images or their table")
    if root.is_file():
        return "table", None
    try:
        return "objects", detect(root)
    except DataError as error:
        lacking = error
    with suppress(DataError):
        find_tables(root)
        return "table", None
    if any(path.is_dir() and find_images(path) for path in root.iterdir()):
        return "folders", None
    known = "a table train.csv, annotations of objects (COCO, YOLO, VOC, ...), or class folders"
    raise DataError(f"{root} has no tags of images: {known}") from lacking


def _from_table(
    tables: LabelTables, given: list[str] | None, separator: str | None
) -> tuple[list[str], Sources, list[str]]:
    """Classes, tags of the rows of tables, and lines on how they were read."""
    every = [entry for entries in tables.entries.values() for entry in entries]
    column = _list_column(tables, every)
    if column is not None:
        said, remarks = read_lists(every, column, separator)
        trained = next(iter(tables.entries.values()))
        classes = ordered((tag for entry in trained for tag in said[entry.where]), given)
    else:
        if separator is not None:
            raise ConfigError("data.separator is of lists of tags, but the table has a column of each: leave it out")
        classes, remarks = tables.headers[0] if given is None else ordered([], given), list[str]()
        for header in tables.headers:
            if odd := sorted(set(header) ^ set(classes)):
                others = "those of other tables" if given is None else "data.classes"
                raise DataError(f"the columns of tags below {tables.root} differ from {others} in {odd[0]!r}")
        said = {entry.where: [name for name in classes if read_flag(entry, name)] for entry in every}
    if not classes:
        raise DataError(f"{tables.root} has no tags: a column tags with a list, or a column of 0 and 1 for each tag")
    made: Sources = {split: _rows(tables.root, entries, said, classes) for split, entries in tables.entries.items()}
    return classes, made, remarks


def _list_column(tables: LabelTables, every: list[Entry]) -> str | None:
    """Header of the column with lists of tags; null where each tag has a column, one perhaps called `label`.

    Raises:
        DataError: a table lacks it.
    """
    plain = [{header_word(name): name for name in reversed(header)} for header in tables.headers]
    column = next((columns[name] for columns in plain for name in TAGS if name in columns), None)
    if column is None or (len(tables.headers[0]) > 1 and all(is_flag(c) for e in every for c in e.cells.values())):
        return None
    if lacking := next((entry for entry in every if column not in entry.cells), None):
        raise DataError(f"{lacking.where} is of a table without the column {column!r}: give all the same columns")
    return column


def _rows(root: Path, entries: Iterable[Entry], said: dict[str, list[str]], classes: list[str]) -> Files:
    """Images of some rows with the tags of all rows of each."""
    tags: dict[Path, np.ndarray] = {}
    for entry in entries:
        mine = tags.setdefault(entry.path, np.zeros(len(classes), np.uint8))
        for name in said[entry.where]:
            mine[index_of(name, classes, entry.where)] = 1
    return Files(root, encoded(root, tags), None, tags=np.stack([*tags.values()]))


def _united(folders: ClassFolders, split: Split) -> Files:
    """Images of class folders; files of one name and content are one image."""
    paths, labels = folders.samples(split)
    files = Files(folders.root, paths, None)
    alike: dict[tuple[str, int], list[int]] = {}
    for i in range(len(files)):
        path = files.path(i)
        alike.setdefault((path.name, path.stat().st_size), []).append(i)
    first: dict[tuple, int] = {}
    tags: dict[int, np.ndarray] = {}
    for key, rows in alike.items():
        for row in rows:
            content = b"" if len(rows) == 1 else hashlib.sha256(files.path(row).read_bytes()).digest()
            place = first.setdefault((*key, content), row)
            tags.setdefault(place, np.zeros(len(folders.classes), np.uint8))[labels[row]] = 1
    order = sorted(tags)
    return Files(folders.root, paths[order], None, tags=np.stack([tags[row] for row in order]))
