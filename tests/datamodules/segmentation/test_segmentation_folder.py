"""Folders and lists of images and masks: accepted layouts, and errors about others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import SegmentationFolder
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import refuses
from tests.helpers.images import save

ALL = {"train": 5, "val": 2, "test": 3}


def masks(root: Path, **options) -> SegmentationFolder:
    data = SegmentationFolder(str(root), **({"image_size": None, "batch_size": 2, "workers": 0} | options))
    data.setup("fit")
    return data


def sizes(data: SegmentationFolder) -> dict[str, int]:
    return {split: len(data.dataset(split, "plain")) for split in ("train", "val", "test") if data.has(split)}


def found(data: SegmentationFolder, split: str = "train") -> list[int]:
    """Classes that occur."""
    source, rows = data.splits[split]
    return np.unique(np.stack([source.mask(i) for i in rows])).tolist()


# Layouts -------------------------------------------------------------------------------------------------------------


def test_folders_of_splits_in_folders_of_images_and_masks(pair_folder):
    assert sizes(masks(pair_folder(ALL))) == ALL


def test_folders_of_images_and_masks_in_folders_of_splits(pair_folder):
    root = pair_folder(ALL)
    for kind in ("images", "masks"):
        for split, name in (("train", "training"), ("val", "valid"), ("test", "test")):
            (root / name).mkdir(exist_ok=True)
            (root / kind / split).rename(root / name / kind)
        (root / kind).rmdir()
    data = masks(root)
    assert sizes(data) == ALL
    assert next(iter(data.test_dataloader()))["id"] == ["test/images/000.png", "test/images/001.png"]


def test_flat_folders_are_split(pair_folder):
    assert sizes(masks(pair_folder({".": 20}), val_split=0.25)) == {"train": 15, "val": 5}


def test_other_names_and_suffixes(pair_folder):
    root = pair_folder(ALL)
    (root / "images").rename(root / "photos")
    (root / "masks").rename(root / "labels")
    for path in (root / "labels").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_L.png"))
    assert sizes(masks(root, images="photos", masks="labels", mask_suffix="_L")) == ALL


def test_an_image_and_its_mask_may_be_files_of_different_kinds(pair_folder):
    root = pair_folder({"train": 2})
    save(np.zeros((24, 32, 3), np.uint8), root / "images" / "train" / "deep" / "a.b.jpg")
    save(np.zeros((24, 32), np.uint8), root / "masks" / "train" / "deep" / "a.b.png")
    source, _ = masks(root, val_split=0.0).splits["train"]
    assert [source.id(i) for i in range(3)] == [f"images/train/{n}" for n in ("000.png", "001.png", "deep/a.b.jpg")]
    assert [source.maps.path(i).name for i in range(3)] == ["000.png", "001.png", "a.b.png"]


def lists(root: Path, sep: str = " ", before: str = "") -> Path:
    """Lists of the pairs below `root`, whose folders then have no names of splits."""
    for split in ("train", "val", "test"):
        lines = []
        for path in sorted((root / "images" / split).iterdir()):
            for kind in ("images", "masks"):
                (root / kind / split / path.name).rename(root / kind / f"{split}{path.name}")
            lines.append(f"{before}images/{split}{path.name}{sep}{before}masks/{split}{path.name}")
        (root / f"{split}.txt").write_text("\n".join([*lines, "", ""]))
        for kind in ("images", "masks"):
            (root / kind / split).rmdir()
    return root


@pytest.mark.parametrize("sep", [" ", "\t", "   "])
@pytest.mark.parametrize("before", ["", "/elsewhere/data/"])
def test_lists_of_pairs(pair_folder, sep, before):
    data = masks(lists(pair_folder(ALL), sep, before))
    assert sizes(data) == ALL
    assert next(iter(data.val_dataloader()))["id"] == ["images/val000.png", "images/val001.png"]


def test_names_with_blanks_are_listed_with_a_tab(pair_folder):
    root = lists(pair_folder(ALL))
    for kind in ("images", "masks"):
        (root / kind / "val000.png").rename(root / kind / "val 0.png")
    (root / "val.txt").write_text("images/val 0.png\tmasks/val 0.png\n")
    assert sizes(masks(root))["val"] == 1


def test_test_images_without_masks_are_left_alone(pair_folder):
    root = pair_folder(ALL)
    for path in (root / "masks" / "test").iterdir():
        path.unlink()
    (root / "masks" / "test").rmdir()
    assert sizes(masks(root)) == {"train": 5, "val": 2}


# Classes -------------------------------------------------------------------------------------------------------------


def test_classes_come_from_the_masks_before_setup(pair_folder):
    data = SegmentationFolder(str(pair_folder(ALL, values=(0, 3, 7, 255))), workers=0)
    assert data.classes == ["class 0", "class 3", "class 7"]
    data.setup("fit")
    assert found(data) == [0, 1, 2, 255]


def test_classes_come_from_a_file_of_names(pair_folder):
    root = pair_folder(ALL)
    (root / "classes.txt").write_text("sky\nbuilding\n\n tree of life \n")
    assert masks(root).classes == ["sky", "building", "tree of life"]


def test_classes_come_from_a_file_of_numbers_and_names(pair_folder):
    root = pair_folder(ALL, values=(1, 4, 200, 255))
    (root / "classes.txt").write_text("1 sky\n4: a house\n200, tree\n255 void\n")
    data = masks(root)
    assert data.classes == ["sky", "a house", "tree"]
    assert found(data) == [0, 1, 2, 255]


def test_classes_that_are_typed_go_before_the_file(pair_folder):
    root = pair_folder(ALL)
    (root / "classes.txt").write_text("sky\nbuilding\ntree\n")
    assert masks(root, classes=["a", "b", "c"]).classes == ["a", "b", "c"]


@pytest.mark.parametrize("ignore", [1, [1], [1, 9]])
def test_ignored_numbers_are_void_and_their_names_dropped(pair_folder, ignore):
    data = masks(pair_folder(ALL), classes=["a", "b", "c"], ignore=ignore)
    assert data.classes == ["a", "c"]
    assert found(data) == [0, 1, 255]
    source, _ = data.splits["train"]
    for i in range(len(source)):
        raw = source.maps.values(i)
        np.testing.assert_array_equal(source.mask(i), np.choose(raw, [0, 255, 1]))


def test_black_and_white_masks_say_which_numbers_are_classes(pair_folder):
    root = pair_folder(ALL, values=(0, 255))
    with refuses(ConfigError, root, 0, 255, "data.values", [0, 255]):
        masks(root)
    data = masks(root, values=[0, 255], classes=["ground", "nucleus"])
    assert (data.classes, found(data)) == (["ground", "nucleus"], [0, 1])


def test_the_order_of_values_is_that_of_the_classes(pair_folder):
    data = masks(pair_folder(ALL), values=[2, 0], ignore=1)
    assert data.classes == ["class 2", "class 0"]
    raw, mask = data.splits["train"][0].maps.values(0), data.splits["train"][0].mask(0)
    np.testing.assert_array_equal(mask, np.choose(raw, [1, 255, 0]))


def test_sixteen_bit_masks(tmp_path):
    wide = np.array([[0, 1000], [65535, 1000]], np.uint16)
    save(wide, tmp_path / "masks" / "a.png")
    save(np.zeros((2, 2, 3), np.uint8), tmp_path / "images" / "a.png")
    data = masks(tmp_path, ignore=65535, val_split=0.0, batch_size=1)
    assert data.classes == ["class 0", "class 1000"]
    assert data.splits["train"][0].mask(0).tolist() == [[0, 1], [255, 1]]


def test_a_class_may_lack_in_training_and_keeps_its_index(pair_folder):
    root = pair_folder({"train": 4, "val": 4}, values=(0, 2))
    save(np.full((24, 32), 1, np.uint8), root / "masks" / "val" / "000.png")
    data = masks(root)
    assert data.classes == ["class 0", "class 1", "class 2"]
    assert found(data) == [0, 2]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"values": [0, 1]}, ["data.values", 2, 3]),
        ({"values": [0, 1, 5], "ignore": [5]}, ["data.ignore", "data.values", 5]),
        ({"classes": ["a", "b", "a"]}, ["data.classes", "'a'"]),
        ({"ignore": [0, 1, 2]}, ["data.classes", "data.values", "data.ignore", []]),
        ({"values": [0, 1, -2]}, ["data.classes", "data.values", "data.ignore", [0, 1, -2], 0, 65535]),
        ({"values": [0, 1, 1]}, ["data.values", [0, 1, 1]]),
        ({"classes": [f"c{i}" for i in range(300)]}, ["data.classes", 299, 255]),
    ],
)
def test_settings_that_contradict_each_other_are_refused(pair_folder, options, names):
    with refuses(ConfigError, *names):
        masks(pair_folder(ALL), **({"classes": ["a", "b", "c"]} | options))


# Refused masks -------------------------------------------------------------------------------------------------------


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with refuses(DataError, "data.root", tmp_path / "none"):
        SegmentationFolder(str(tmp_path / "none"))


def test_a_root_without_pairs_is_refused(tmp_path):
    with refuses(DataError, tmp_path, "'images'", "'labels'", "train.txt", "data.images", "data.masks"):
        SegmentationFolder(str(tmp_path), masks="labels")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_an_empty_folder_is_refused(pair_folder, kind):
    root = pair_folder(ALL)
    for path in (root / kind / "val").iterdir():
        path.unlink()
    with refuses(DataError, root / kind / "val", "--data.root"):
        masks(root)


def test_files_without_a_partner_are_named_in_both_directions(pair_folder):
    root = pair_folder({"train": 9})
    for i in range(7):
        (root / "masks" / "train" / f"00{i}.png").unlink()
    (root / "images" / "train" / "008.png").unlink()
    named = [*(f"00{i}.png" for i in range(5)), 2, root / "images/train", "008.png", root / "masks/train"]
    with refuses(DataError, *named):
        masks(root)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"", []),
        (b"\n \n", []),
        (b"images/val000.png\n", ["'images/val000.png'"]),
        (b"a b c\n", ["'a b c'"]),
        (b"\x89PNG\r\n\x1a\n\0\0\0\r", ["UTF-8"]),
    ],
)
def test_a_list_that_holds_no_pairs_is_refused_by_its_name(pair_folder, content, names):
    root = lists(pair_folder(ALL))
    (root / "val.txt").write_bytes(content)
    with refuses(DataError, root / "val.txt", *names):
        masks(root)


def test_listed_files_that_are_not_there_are_named(pair_folder):
    root = lists(pair_folder(ALL))
    gone = [root / "masks" / f"train00{i}.png" for i in (1, 3)]
    for path in gone:
        path.unlink()
    with refuses(DataError, *gone, root / "train.txt"):
        masks(root)


def test_void_reaches_the_batch_as_255(pair_folder):
    batch = next(iter(masks(pair_folder(ALL, values=(0, 1, 255)), image_size=32).val_dataloader()))
    assert batch["mask"].dtype == torch.int64
    assert set(batch["mask"].unique().tolist()) == {0, 1, 255}
