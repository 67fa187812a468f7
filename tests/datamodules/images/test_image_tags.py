"""Images with several classes each: tables, annotated objects, class folders that share files."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import ImageTags, ShapesTags
from datamodules.division import divide, strata_of
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses


@pytest.fixture
def root(image_folder) -> Path:
    """A folder with the images a.png to f.png."""
    folder = image_folder({"of": 6})
    for path, name in zip(sorted((folder / "of").iterdir()), "abcdef", strict=True):
        path.rename(folder / f"{name}.png")
    (folder / "of").rmdir()
    return folder


def write(root: Path, lines: list[str], name: str = "train.csv") -> Path:
    (root / name).write_text("\n".join(lines) + "\n")
    return root


def read(root: Path, **settings) -> ImageTags:
    data = ImageTags(str(root), **{"val_split": 0.0, "workers": 0, "image_size": 16, "batch_size": 2} | settings)
    data.setup("fit")
    return data


def tags(data: ImageTags, split: str = "train") -> dict[str, list[str]]:
    source, rows = data.splits[split]
    named = np.array(data.classes)
    return {source.id(row): named[source.tags[row] > 0].tolist() for row in rows}


@pytest.mark.parametrize("sign", ["|", ";", ",", " "])
def test_a_column_has_a_list_of_tags(root, sign):
    write(root, ["path\ttags", f"a.png\tdog{sign}cat", "b.png\tcat", "c.png\t"])
    found = tags(read(root, separator=sign if sign == " " else None))
    assert found == {"a.png": ["cat", "dog"], "b.png": ["cat"], "c.png": []}


def test_a_column_of_each_tag_has_zeros_and_ones(root):
    data = read(write(root, ["path,dog,cat", "a.png,1,1", "b.png,0,1.0", "c.png,0,False"]))
    assert data.classes == ["dog", "cat"]
    assert tags(data) == {"a.png": ["dog", "cat"], "b.png": ["cat"], "c.png": []}


def test_lists_are_read_as_pandas_numpy_and_json_write_them(root):
    rows = [
        "a.png;['dog', \"cat's\"]",
        "b.png;['dog' 'big cat']",
        'c.png;"[""dog"", ""cat\'s""]"',
        "d.png;{dog, big cat}",
    ]
    found = tags(read(write(root, ["path;tags", *rows, "e.png;[]"])))
    assert found["a.png"] == found["c.png"] == ["cat's", "dog"]
    assert found["b.png"] == found["d.png"] == ["big cat", "dog"]
    assert found["e.png"] == []


def test_a_column_of_flags_may_be_called_label(root):
    data = read(write(root, ["path,label,dog", "a.png,1,0", "b.png,0,1"]))
    assert data.classes == ["label", "dog"]
    assert tags(data) == {"a.png": ["label"], "b.png": ["dog"]}


def test_the_summary_says_which_column_was_read_and_which_not(root):
    data = read(write(root, ["path,tags,author", "a.png,red cat,Ann", "b.png,dog,Bob"]))
    (line,) = [line for line in data.describe() if "column" in line]
    assert "'tags'" in line and "--data.separator" in line and "'author'" in line
    assert data.classes == ["dog", "red cat"]


def test_an_image_is_found_by_its_id_without_suffix(root):
    assert tags(read(write(root, ["id,tags", "a,cat", "b,dog"]))) == {"a.png": ["cat"], "b.png": ["dog"]}


def test_an_empty_separator_is_refused(root):
    with refuses(ConfigError, "data.separator"):
        read(write(root, ["path,tags", "a.png,cat|dog"]), separator="")


def test_rows_of_one_image_add_up(root):
    assert tags(read(write(root, ["path,label", "a.png,dog", "b.png,cat", "a.png,cat"])))["a.png"] == ["cat", "dog"]


def test_batches_hold_the_tags_of_each_image(root):
    data = read(write(root, ["path,tags", "a.png,cat|dog", "b.png,cat"]))
    (batch,) = data.plain_dataloader("train")
    assert batch["tags"].dtype == torch.uint8 and batch["tags"].tolist() == [[1, 1], [1, 0]]
    assert "label" not in batch


def test_the_classes_of_an_images_objects_are_its_tags(data_root):
    data = read(data_root / "coco100_instances", val_split=0.2)
    found = {name: set(names) for split in data.splits for name, names in tags(data, split).items()}
    assert len(found) == 100 and len(data.classes) == 80
    assert all(found.values()) or "without any" in " ".join(data.describe())


def test_a_file_in_several_class_folders_has_all_of_them(image_folder):
    root = image_folder({"cat": 3, "dog": 2})
    shared = sorted((root / "cat").iterdir())[0]
    for path in (root / "dog").iterdir():
        path.rename(path.with_stem(f"dog_{path.stem}"))
    shutil.copy(shared, root / "dog" / shared.name)
    found = tags(read(root))
    assert len(found) == 5 and found[f"cat/{shared.name}"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["path,dog,cat", "a.png,1,0.5"], ("line 2", "'cat'", "'0.5'")),
        (["path,dog,cat", "a.png,1,"], ("line 2", "'cat'")),
        (["path,tags", "z.png,dog"], ("line 2", "'z.png'")),
        (["path", "a.png"], ("tags",)),
        (["path,dog,dog", "a.png,1,0"], ("'dog'",)),
    ],
)
def test_wrong_tables_are_refused(root, lines, said):
    with refuses(DataError, *said):
        read(write(root, lines))


def test_a_tag_that_training_lacks_is_refused_with_its_line(root):
    write(root, ["path,tags", "b.png,dog", "c.png,dgo"], "val.csv")
    with refuses(DataError, "val.csv line 3", "'dgo'"):
        read(write(root, ["path,tags", "a.png,cat|dog"]))


def test_classes_order_the_columns_of_flags(root):
    write(root, ["path,dog,cat", "a.png,1,0", "b.png,1,1"])
    data = read(root, classes=["cat", "dog"])
    assert data.classes == ["cat", "dog"] and tags(data) == {"a.png": ["dog"], "b.png": ["cat", "dog"]}
    with refuses(DataError, "data.classes", "'bird'"):
        read(root, classes=["cat", "dog", "bird"])


def test_tables_of_other_columns_are_refused(root):
    write(root, ["path,dog,bird", "b.png,0,1"], "val.csv")
    with refuses(DataError, "bird"):
        read(write(root, ["path,dog,cat", "a.png,1,1"]))


def test_classes_of_other_formats_than_lists_are_refused(image_folder):
    with refuses(ConfigError, "data.classes", "folders"):
        read(image_folder({"cat": 2, "dog": 2}), classes=["dog", "cat"])


def test_the_summary_says_that_images_have_no_tags(root):
    write(root, ["path,cat,dog", "a.png,0,0", "b.png,0,0"])
    write(root, ["path,cat,dog", "c.png,0,0"], "val.csv")
    told = read(root).describe_classes()
    assert len(told) == 2 and told[0].startswith("no val image") and "2 tags: 'cat', 'dog'" in told[1]


def test_a_root_that_is_not_there_is_refused(tmp_path):
    with refuses(DataError, "data.root", tmp_path / "none"):
        ImageTags(str(tmp_path / "none"))


def test_the_rarest_tag_of_an_image_is_its_stratum():
    data = ShapesTags(train=200, val=0, test=0, image_size=16)
    data.setup("fit")
    source, rows = data.splits["train"]
    strata, counts = strata_of(source), source.tags.sum(0)
    assert all(counts[strata[row]] == counts[source.tags[row] > 0].min() for row in rows)
    drawn, _ = divide(strata, rows, 0.25, np.random.default_rng(0))
    assert source.tags[drawn].sum(0).min() > 0 and len(drawn) == pytest.approx(50, abs=5)


def test_built_in_images_have_the_shapes_that_are_seen():
    data = ShapesTags(train=8, val=4, test=4, image_size=32)
    data.setup("fit")
    source, _ = data.splits["train"]
    assert source.tags.shape == (8, 10) and source.tags.sum(1).min() >= 1 and source.tags.sum(1).max() <= 5


def test_a_folder_without_any_of_the_formats_is_refused(image_folder, tmp_path):
    flat = image_folder({"of": 2}) / "of"
    with refuses(DataError, str(flat), "train.csv", "COCO", "class folders"):
        read(flat)
