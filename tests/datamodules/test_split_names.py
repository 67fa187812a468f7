"""Folders, lists and columns of splits go by any usual name in any case; a test set without labels stops nothing."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import CaptionTable, DetectionFolder, FrameFolder, ImageFolder, SegmentationFolder, VideoFolder
from datamodules.split_names import split_folders, split_lists, split_named
from modules.contracts import DataError
from tests.helpers.errors import assert_named, line_naming, refuses


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)).save(path)


def folder_of(root: Path, counts: dict[str, int]) -> Path:
    for place, count in counts.items():
        for i in range(count):
            image(root / place / f"{i}.png", zlib.crc32(f"{place}/{i}".encode()))
    return root


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("Training", "TRAIN", "train ")),
        *((name, "val") for name in ("Validation", "valid", "Val")),
        *((name, "test") for name in ("Testing", "Test")),
        *((name, None) for name in ("cat", "trainer")),
    ],
)
def test_names_in_any_case(name, split):
    assert split_named(name) == split


def test_two_folders_or_lists_for_one_split_are_refused(tmp_path):
    for name in ("train", "Training", "val"):
        (tmp_path / name).mkdir()
    with refuses(DataError, tmp_path / "train", tmp_path / "Training"):
        split_folders(tmp_path)
    for name in ("test.txt", "TESTING.TXT"):
        (tmp_path / name).touch()
    with refuses(DataError, tmp_path / "test.txt", tmp_path / "TESTING.TXT"):
        split_lists(tmp_path)


def test_class_folders_below_capital_splits(tmp_path):
    folder_of(tmp_path, {"Training/a": 3, "Training/b": 3, "Testing/a": 2, "Testing/b": 2, "Validation/a": 1})
    data = ImageFolder(str(tmp_path), batch_size=1)
    data.setup()
    assert data.classes == ["a", "b"]
    assert {split: len(rows) for split, (_, rows) in data.splits.items()} == {"train": 6, "val": 1, "test": 4}


def test_a_class_that_is_called_like_a_split_is_a_class(tmp_path):
    data = ImageFolder(str(folder_of(tmp_path, {"train": 2, "bus": 2, "car": 2})), batch_size=1)
    assert data.classes == ["bus", "car", "train"]


@pytest.mark.parametrize("flat", ["test", "Testing", "val"])
def test_a_flat_split_without_labels_is_left_out_and_said(tmp_path, flat):
    folder_of(tmp_path, {"train/a": 4, "train/b": 4, flat: 3})
    data = ImageFolder(str(tmp_path), batch_size=1)
    data.setup()
    assert not (flat != "val" and data.has("test"))
    assert line_naming(data.describe(), flat, "labels")


def test_a_test_set_of_classes_that_training_lacks_is_refused(tmp_path):
    data = ImageFolder(str(folder_of(tmp_path, {"train/a": 4, "train/b": 4, "test/c": 3})), batch_size=1)
    with refuses(DataError, tmp_path / "test", "'c'", tmp_path / "train"):
        data.setup()


def test_frames_and_masks_and_id_pngs_and_labels_below_capital_splits(tmp_path):
    folder_of(tmp_path / "frames", {"Training/run/0": 2, "Training/run/1": 2, "Testing/run/2": 2})
    data = FrameFolder(str(tmp_path / "frames"), batch_size=1, val_split=0)
    assert list(data.folders.folders) == ["train", "test"]
    for split in ("Training", "Testing"):
        for i in range(2):
            image(tmp_path / "pairs" / "images" / split / f"{i}.png", i)
            mask = tmp_path / "pairs" / "masks" / split.lower() / f"{i}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.mgrid[:24, :32][0] > 12).astype(np.uint8)).save(mask)
    assert list(SegmentationFolder(str(tmp_path / "pairs")).sources()) == ["train", "test"]
    assert list(DetectionFolder(str(tmp_path / "pairs"), format="png").sources()) == ["train", "test"]
    for i in range(4):
        split = "Train" if i < 2 else "VALID"
        image(tmp_path / "yolo" / split / "images" / f"{i}.png", i)
        (tmp_path / "yolo" / split / "labels").mkdir(exist_ok=True)
        (tmp_path / "yolo" / split / "labels" / f"{i}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "yolo" / "classes.txt").write_text("thing\n")
    assert list(DetectionFolder(str(tmp_path / "yolo")).sources()) == ["train", "val"]


def test_test_images_without_masks_or_labels_are_said(tmp_path):
    for i in range(2):
        image(tmp_path / "images" / "train" / f"{i}.png", i)
        image(tmp_path / "images" / "Test" / f"{i}.png", 9 + i)
        (tmp_path / "masks" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.mgrid[:24, :32][0] > 12).astype(np.uint8)).save(tmp_path / "masks" / "train" / f"{i}.png")
    assert_named(
        SegmentationFolder(str(tmp_path)).unlabeled[0], tmp_path / "images" / "Test", tmp_path / "masks" / "Test"
    )
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: [thing]\ntrain: images/train\ntest: images/Test\n")
    data = DetectionFolder(str(tmp_path), format="yolo")
    assert list(data.sources()) == ["train"]
    assert line_naming(data.remarks, "test set")


def test_lists_of_videos_and_columns_of_splits_in_any_case(tmp_path):
    for name in ("Train.txt", "Testing.txt"):
        (tmp_path / name).write_text("a.mp4 run\n")
    assert list(VideoFolder(str(tmp_path)).lists) == ["train", "test"]
    image(tmp_path / "a.png")
    (tmp_path / "captions.csv").write_text("image,caption,split\na.png,a dog,Training\na.png,a cat,Testing\n")
    _, found = CaptionTable(str(tmp_path / "captions.csv")).listed()
    assert {split: len(part) for split, part in found.items()} == {"train": 1, "val": 0, "test": 1}
