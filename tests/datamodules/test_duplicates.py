"""Equal images in two splits are found by content, in every data module; all broken ones are counted."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules import CaptionTable, DetectionFolder, FrameFolder, ImageFolder, SegmentationFolder, VideoFolder
from datamodules.duplicates import shared_files
from modules.contracts import DataError
from tests.helpers.errors import assert_named, refuses
from tests.helpers.filmed import film


def image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)).save(path)
    return path


def warnings(data) -> list[str]:
    """The warnings of a data module that name files."""
    data.setup()
    return [line for line in data.describe() if line.startswith("warning: ") and ".png" in line]


def test_equal_bytes_under_other_names_and_not_equal_names(tmp_path):
    for i in range(4):
        image(tmp_path / "train" / "a" / f"{i}.png", i)
        image(tmp_path / "test" / "a" / f"{i}.png", 10 + i)
    data = ImageFolder(str(tmp_path), batch_size=1, val_split=0)
    assert warnings(data) == []
    shutil.copy(tmp_path / "train" / "a" / "2.png", tmp_path / "test" / "a" / "other.png")
    (line,) = warnings(ImageFolder(str(tmp_path), batch_size=1, val_split=0))
    assert_named(line, 1, "test", "train", "2.png", "other.png")


def test_a_copy_that_falls_into_the_validation_share_is_found(tmp_path):
    for i in range(20):
        shutil.copy(image(tmp_path / "a" / f"{i}.png", i), tmp_path / "a" / f"copy_{i}.png")
    (line,) = warnings(ImageFolder(str(tmp_path), batch_size=1, val_split=0.5))
    assert_named(line, "val", "train")


def test_files_of_one_size_and_end_are_told_apart(tmp_path):
    one, two = tmp_path / "a.bin", tmp_path / "b.bin"
    one.write_bytes(b"a" + bytes(9000))
    two.write_bytes(b"b" + bytes(9000))
    assert shared_files({"train": [(one, 1)], "test": [(two, 1)]}) == {}
    two.write_bytes(one.read_bytes())
    assert shared_files({"train": [(one, 1)], "test": [(two, 1)]}) == {("train", "test"): [(one, two)]}


def test_masks_boxes_and_captions_are_compared_too(tmp_path):
    for split, seed in (("train", 0), ("val", 5)):
        for i in range(3):
            image(tmp_path / "images" / split / f"{i}.png", seed + i)
            mask = tmp_path / "masks" / split / f"{i}.png"
            mask.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((np.mgrid[:24, :32][0] > 12).astype(np.uint8)).save(mask)
    shutil.copy(tmp_path / "images" / "train" / "0.png", tmp_path / "images" / "val" / "2.png")
    assert len(warnings(SegmentationFolder(str(tmp_path), batch_size=1))) == 1
    assert len(warnings(DetectionFolder(str(tmp_path), format="png", batch_size=1))) == 1
    rows = "".join(f"{split}/{i}.png,a dog,{split}\n" for split in ("train", "val") for i in range(3))
    (tmp_path / "captions.csv").write_text("image,caption,split\n" + rows)
    data = CaptionTable(str(tmp_path / "captions.csv"), images=str(tmp_path / "images"), batch_size=1)
    assert len(warnings(data)) == 1


def test_videos_and_folders_of_frames_are_compared_too(tmp_path):
    for split, seed in (("train", 0), ("test", 5)):
        for i in range(2):
            film(tmp_path / "videos" / split / "run" / f"{i}.mp4", 4, seed=seed + i)
            for n in range(3):
                image(tmp_path / "frames" / split / "run" / f"v{i}" / f"{n}.png", 10 * seed + 3 * i + n)
    folders = {VideoFolder: tmp_path / "videos", FrameFolder: tmp_path / "frames"}
    for data, root in folders.items():
        assert warnings(data(str(root), batch_size=1, val_split=0)) == []
    shutil.copy(tmp_path / "videos" / "train" / "run" / "1.mp4", tmp_path / "videos" / "test" / "run" / "copy.mp4")
    shutil.copytree(tmp_path / "frames" / "train" / "run" / "v0", tmp_path / "frames" / "test" / "run" / "copy")
    for data, root in folders.items():
        found = data(str(root), batch_size=1, val_split=0)
        found.setup()
        (line,) = found.shared
        assert_named(line, 1, "test", "train", "copy")


def test_all_broken_files_of_all_splits_are_counted_and_five_named(tmp_path):
    for split in ("train", "test"):
        for i in range(6):
            path = image(tmp_path / split / "a" / f"{split}{i}.png", i)
            if i < 4:
                path.write_bytes(path.read_bytes()[:40])
    with refuses(DataError, 8, 12, 3, "--data.on_error skip") as caught:
        ImageFolder(str(tmp_path), batch_size=1).setup()
    assert str(caught.value).count(".png") == 5
