"""Every file of a folder is found, behind links too, or named as left out; two of one name are never mixed up."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import DetectionFolder, ImageFolder, SegmentationFolder, UnlabeledImages
from datamodules.finding import SUFFIXES, by_stem, find_images, left_out
from datamodules.video.files import find_videos
from modules.contracts import DataError
from tests.helpers.errors import line_naming, refuses


def image(path: Path, seed: int = 0, size: tuple[int, int] = (24, 32)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)).save(path)
    return path


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_folders_and_files_behind_links_are_found(tmp_path):
    for i in range(3):
        image(tmp_path / "store" / "cat" / f"{i}.png", i)
    image(tmp_path / "data" / "cat" / "own.png", 9)
    (tmp_path / "data" / "cat" / "day1").symlink_to(tmp_path / "store" / "cat")
    (tmp_path / "data" / "dog").symlink_to(tmp_path / "store")
    assert names(find_images(tmp_path / "data" / "cat")) == ["0.png", "1.png", "2.png", "own.png"]
    data = ImageFolder(str(tmp_path / "data"), batch_size=1, val_split=0)
    data.setup()
    assert np.bincount(data.splits["train"][0].labels).tolist() == [4, 3]


def test_links_in_a_circle_end_and_count_once(tmp_path):
    image(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    assert names(find_images(tmp_path)) == ["0.png"]


def test_links_that_lead_nowhere_are_named(tmp_path):
    image(tmp_path / "0.png")
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    with refuses(DataError, 1, 2, tmp_path / "1.png", "--data.on_error skip"):
        UnlabeledImages(str(tmp_path), batch_size=1).setup("predict")


def test_videos_behind_links_are_found(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.MP4").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link").symlink_to(tmp_path / "store")
    assert names(find_videos(tmp_path / "data")) == ["a.MP4"]


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "JPG", "webp", "avif", "jp2", "tga", "Bmp"])
def test_more_suffixes_are_read(tmp_path, suffix):
    if f".{suffix.lower()}" not in SUFFIXES:
        pytest.skip("this Pillow cannot read it")
    kind = {"jfif": "jpeg", "jpe": "jpeg", "jpg": "jpeg", "jp2": "jpeg2000"}.get(suffix.lower(), suffix.lower())
    with (tmp_path / f"a.{suffix}").open("wb") as file:
        Image.new("RGB", (32, 24), (200, 100, 50)).save(file, format=kind)
    data = UnlabeledImages(str(tmp_path), batch_size=1)
    data.setup("predict")
    np.testing.assert_allclose(data.splits["train"][0].image(0)[0, 0].astype(int), [200, 100, 50], atol=4)


@pytest.mark.skipif(".heic" in SUFFIXES, reason="pillow-heif reads them here")
def test_files_of_other_kinds_are_counted_and_named(tmp_path):
    image(tmp_path / "dog" / "a.png")
    image(tmp_path / "cat" / "b.png", 1)
    for name in ("dog/IMG_1.HEIC", "dog/IMG_2.HEIC", "cat/scan.dcm", "cat/notes.txt", "cat/.DS_Store"):
        (tmp_path / name).write_bytes(b"x")
    data = ImageFolder(str(tmp_path), batch_size=1, val_split=0)
    data.setup()
    assert line_naming(data.describe(), "2 .heic", "1 .dcm", "pillow-heif")
    assert sorted(Path(line.partition(":")[0]).name for line in data.skipped) == [
        "IMG_1.HEIC",
        "IMG_2.HEIC",
        "scan.dcm",
    ]


def test_a_folder_of_other_kinds_alone_is_refused_with_their_count(tmp_path):
    file = tmp_path / ("a.heif" if ".heif" not in SUFFIXES else "a.dcm")
    file.write_bytes(b"x")
    with refuses(DataError, tmp_path, f"1 {file.suffix}"):
        UnlabeledImages(str(tmp_path), batch_size=1).setup("predict")


def test_a_phone_image_under_the_name_of_a_jpeg_is_named_as_such(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with refuses(DataError, tmp_path / "a.jpg", "HEIC", "pillow-heif", "--data.on_error skip"):
        UnlabeledImages(str(tmp_path), batch_size=1).setup("predict")


def test_two_images_of_one_stem_are_refused_by_both_names(tmp_path):
    image(tmp_path / "images" / "a" / "0.png")
    image(tmp_path / "images" / "a" / "0.jpg")
    image(tmp_path / "images" / "b" / "0.png")
    with refuses(DataError, tmp_path / "images" / "a", "0.jpg", "0.png"):
        by_stem(tmp_path / "images")


@pytest.mark.parametrize("twin", ["images/0.jpg", "masks/0.tif"])
@pytest.mark.parametrize("kind", ["semantic", "instances"])
def test_pairs_by_stem_are_refused_where_one_side_has_two(tmp_path, kind, twin):
    for i in range(3):
        image(tmp_path / "images" / f"{i}.png", i)
        mask = tmp_path / "masks" / f"{i}.png"
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray((np.mgrid[:24, :32][0] > 12).astype(np.uint8)).save(mask)
    image(tmp_path / twin)
    both = ("images", "0.jpg", "0.png") if twin == "images/0.jpg" else ("masks", "0.png", "0.tif")
    with refuses(DataError, tmp_path, *both):
        SegmentationFolder(str(tmp_path)) if kind == "semantic" else DetectionFolder(str(tmp_path), format="png")


def test_two_images_that_share_a_label_file_are_refused(tmp_path):
    image(tmp_path / "images" / "0.png")
    image(tmp_path / "images" / "0.jpg", 1)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("thing\n")
    with refuses(DataError, *(tmp_path / name for name in ("images/0.jpg", "images/0.png", "labels/0.txt"))):
        DetectionFolder(str(tmp_path))


def voc(path: Path, filename: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    path.write_text(f"<annotation><filename>{filename}</filename><object><name>cat</name>{box}</object></annotation>")


def test_an_xml_that_names_the_suffix_decides_between_two(tmp_path):
    image(tmp_path / "JPEGImages" / "0.png")
    image(tmp_path / "JPEGImages" / "0.jpg", 1)
    voc(tmp_path / "Annotations" / "0.xml", "0.png")
    data = DetectionFolder(str(tmp_path), val_split=0, batch_size=1)
    data.setup()
    assert data.splits["train"][0].id(0) == os.path.join("JPEGImages", "0.png")  # noqa: PTH118
    voc(tmp_path / "Annotations" / "0.xml", "")
    with refuses(DataError, tmp_path / "JPEGImages", "0.jpg", "0.png"):
        DetectionFolder(str(tmp_path))


def test_left_out_files_are_those_that_no_reader_takes(tmp_path):
    for name in ("a.png", "b.heic", "c.json", "d", ".e.heic", "sub/f.svg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names(left_out(tmp_path, {".png"})) == ["b.heic", "f.svg"]
