"""Images and their class in a CSV file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules import ImageTable
from modules.contracts import DataError
from tests.helpers.errors import refuses

ROWS = ["a.png,cat,train", "b.png,dog,train", "c.png,cat,train", "d.png,dog,val"]


@pytest.fixture
def table(image_folder) -> Callable[..., Path]:
    """Write a table beside four images; returns its path."""
    root = image_folder({"of": 4})
    for path, name in zip(sorted((root / "of").iterdir()), "abcd", strict=True):
        path.rename(root / f"{name}.png")

    def write(rows: list[str], header: str = "path,label,split", name: str = "all.csv") -> Path:
        (root / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return root / name

    return write


def read(root: Path, **settings) -> ImageTable:
    data = ImageTable(str(root), **{"val_split": 0.0, "workers": 0, "image_size": 16} | settings)
    data.setup("fit")
    return data


def labels(data: ImageTable, split: str) -> list[str]:
    source, rows = data.splits[split]
    return [f"{source.id(row)} {data.classes[source.labels[row]]}" for row in rows]


def test_rows_have_their_class_and_split(table):
    data = read(table(ROWS).parent)
    assert data.classes == ["cat", "dog"]
    assert (labels(data, "train"), labels(data, "val")) == (["a.png cat", "b.png dog", "c.png cat"], ["d.png dog"])


@pytest.mark.parametrize("header", ["\ufeffFile Name;Class;Set", "image;category;subset", "﻿path;y;split"])
def test_spreadsheets_have_marks_semicolons_blanks_and_other_headers(table, header):
    data = read(table([row.replace(",", " ; ") for row in ROWS], header))
    assert labels(data, "train") == ["a.png cat", "b.png dog", "c.png cat"]


def test_tables_are_named_by_their_split(table):
    table(["a.png,cat", "b.png,dog"], "path,label", "train.csv")
    root = table(["c.png,dog"], "path,label", "test.csv").parent
    data = read(root)
    assert (labels(data, "train"), labels(data, "test")) == (["a.png cat", "b.png dog"], ["c.png dog"])


def test_numbers_are_ordered_by_size(table):
    assert read(table(["a.png,10,train", "b.png,9,train"])).classes == ["9", "10"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*ROWS[:3], "d.png,dgo,val"], ("line 5", "'dgo'", "dog")),
        ([*ROWS, "a.png,dog,train"], ("line 6", "line 2", "a.png")),
        ([*ROWS, "e.png,dog,train"], ("line 6", "'e.png'", "--data.on_error skip")),
        ([*ROWS, "a.png,,train"], ("line 6", "class")),
        ([*ROWS, ",dog,train"], ("line 6", "path")),
        ([*ROWS, "a.png,dog"], ("line 6", "2", "3")),
        ([*ROWS, "a.png,dog,middle"], ("line 6", "'middle'")),
    ],
)
def test_wrong_rows_are_refused_with_their_line(table, rows, said):
    with refuses(DataError, *said):
        read(table(rows))


def test_rows_without_their_image_are_left_out_and_listed(table):
    data = read(table([*ROWS, "e.png,dog,train"]), on_error="skip")
    assert labels(data, "train") == ["a.png cat", "b.png dog", "c.png cat"]
    assert len(data.skipped) == 1 and "line 6" in data.skipped[0]


def test_a_table_without_path_or_label_names_its_columns(table):
    with refuses(DataError, "photo", "path"):
        read(table(ROWS, "photo,label,split"))
    with refuses(DataError, "kind", "--data.column"):
        read(table(ROWS, "path,kind,split"))
    assert read(table(ROWS, "path,kind,split"), column="kind").classes == ["cat", "dog"]
