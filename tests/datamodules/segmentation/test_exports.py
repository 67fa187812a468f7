"""Masks as annotation tools export them: beside their images, in colors, in Pascal VOC's folders, with tables."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import SegmentationFolder
from modules.contracts import DataError
from tests.helpers.errors import refuses
from tests.helpers.images import save

NAMES = ["background", "red", "green"]
COLORS = [(0, 0, 0), (250, 50, 83), (36, 179, 83)]
MASK = np.repeat(np.arange(3, dtype=np.uint8), 8)[None].repeat(16, 0)  # 16 x 24, a stripe of each class
TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\n"
    + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in zip(NAMES, COLORS, strict=True)),
    "label_colors.txt": "".join(f"{r} {g} {b}\t{n}\n" for n, (r, g, b) in zip(NAMES, COLORS, strict=True)),
    "class_dict.csv": "name,r,g,b\n"
    + "".join(f"{n},{r},{g},{b}\n" for n, (r, g, b) in zip(NAMES, COLORS, strict=True)),
}


def colored(mask: np.ndarray = MASK) -> np.ndarray:
    return np.array(COLORS, np.uint8)[mask]


def pair(image: Path, mask: Path, pixels: np.ndarray) -> None:
    save(np.full((*MASK.shape, 3), 90, np.uint8), image)
    save(pixels, mask)


def read(root: Path, **options) -> SegmentationFolder:
    data = SegmentationFolder(
        str(root), **({"image_size": None, "batch_size": 1, "workers": 0, "val_split": 0.0} | options)
    )
    data.setup("fit")
    return data


def first(data: SegmentationFolder, split: str = "train") -> np.ndarray:
    return data.splits[split][0].mask(0)


# Colors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "P"])
def test_colors_that_a_table_names_are_classes(tmp_path, table, kind):
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", colored())
    if kind == "P":  # in another order than the table's
        save(2 - MASK, tmp_path / "masks" / "a.png", [part for color in reversed(COLORS) for part in color])
    else:
        Image.fromarray(colored()).convert(kind).save(tmp_path / "masks" / "a.png")
    (tmp_path / table).write_text(TABLES[table])
    data = read(tmp_path)
    assert data.classes == NAMES
    assert np.array_equal(first(data), MASK)
    assert data.palette == COLORS
    assert data.mask_values == [0, 1, 2]


def test_gray_masks_beside_a_table_of_colors_hold_its_places(tmp_path):
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", MASK)
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    assert np.array_equal(first(read(tmp_path)), MASK)


def test_the_border_color_of_pascal_voc_is_void_and_a_class_can_be_ignored(tmp_path):
    pixels = colored()
    pixels[0] = (224, 224, 192)
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", pixels)
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    data = read(tmp_path, ignore=1)
    assert data.classes == ["background", "green"]
    assert (first(data)[0] == 255).all()
    assert np.unique(first(data)[1:]).tolist() == [0, 1, 255]
    assert data.palette == [COLORS[0], COLORS[2]]
    assert data.mask_values == [0, 2]


def test_a_color_that_the_table_lacks_is_named_with_its_pixels(tmp_path):
    pixels = colored()
    pixels[0, :5] = (1, 2, 3)
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", pixels)
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    with refuses(DataError, tmp_path / "masks/a.png", 5, (1, 2, 3), tmp_path / "labelmap.txt"):
        read(tmp_path)


def test_colors_without_a_table_are_refused_with_the_way_to_name_them(tmp_path):
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", colored())
    with refuses(DataError, tmp_path / "masks/a.png", "RGB", "labelmap.txt"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("table", "text", "names"),
    [
        ("labelmap.txt", "background 0,0,0\n", ["'background 0,0,0'"]),
        ("labelmap.txt", "red:0,0,300::\n", ["'red:0,0,300::'", "0, 0, 300"]),
        ("labelmap.txt", "# nothing\n", []),
        ("labelmap.txt", "a:0,0,0::\nb:0,0,0::\n", [(0, 0, 0)]),
        ("labelmap.txt", "a:0,0,0::\na:1,0,0::\n", ["'a'"]),
        ("class_dict.csv", "name,r,g\na,0,0\n", ["class", "value", "red", "green", "blue"]),
        ("class_dict.csv", "name,r,g,b\na,0,0\n", ["line 2", 3]),
        ("_classes.csv", "Pixel Value,Class\nzero,a\n", ["line 2", "'zero'"]),
        ("_classes.csv", "", ["class", "value", "red", "green", "blue"]),
    ],
)
def test_tables_that_say_nothing_are_refused_by_name(tmp_path, table, text, names):
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", colored())
    (tmp_path / table).write_text(text)
    with refuses(DataError, tmp_path / table, *names):
        read(tmp_path)


# Folders -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [{}, {"images": ".", "masks": ".", "mask_suffix": "_mask"}])
def test_masks_may_lie_beside_their_images(tmp_path, typed):
    """A folder as Roboflow exports it."""
    for split in ("train", "valid"):
        for name in ("p0_jpg.rf.ab12", "p 1"):
            pair(tmp_path / split / f"{name}.jpg", tmp_path / split / f"{name}_mask.png", MASK)
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, red\n2, green\n")
    data = read(tmp_path, **typed)
    assert data.classes == NAMES
    assert {split: len(rows) for split, (_, rows) in data.splits.items()} == {"train": 2, "val": 2}
    assert np.array_equal(first(data, "val"), MASK)


def test_one_folder_of_jpg_and_png_is_images_and_masks(tmp_path):
    pair(tmp_path / "all" / "a.jpg", tmp_path / "all" / "a.png", MASK)
    data = read(tmp_path, images="all", masks="all")
    assert np.array_equal(first(data), MASK)


def test_an_image_beside_masks_without_one_is_named(tmp_path):
    pair(tmp_path / "train" / "a.jpg", tmp_path / "train" / "a_mask.png", MASK)
    save(MASK, tmp_path / "train" / "b.png")
    with refuses(DataError, "b.png", tmp_path / "train"):
        read(tmp_path)


@pytest.mark.parametrize("typed", [{}, {"images": "JPEGImages", "masks": "SegmentationClass"}])
def test_folders_of_pascal_voc_are_found_with_their_lists(tmp_path, typed):
    for name in ("a 1", "b", "c"):
        pair(tmp_path / "JPEGImages" / f"{name}.jpg", tmp_path / "SegmentationClass" / f"{name}.png", colored())
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a 1\r\nB\r\n")
    (lists / "val.txt").write_text("c.jpg\n")
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    data = read(tmp_path, **typed)
    ids = {split: [source.id(i) for i in range(len(source))] for split, (source, _) in data.splits.items()}
    assert ids == {"train": ["JPEGImages/a 1.jpg", "JPEGImages/b.jpg"], "val": ["JPEGImages/c.jpg"]}


def test_camvid_of_cvat_has_a_list_of_its_own_name(tmp_path):
    pair(tmp_path / "default" / "a.png", tmp_path / "defaultannot" / "a.png", colored())
    (tmp_path / "default.txt").write_text("/default/a.png /defaultannot/a.png\n")
    (tmp_path / "label_colors.txt").write_text(TABLES["label_colors.txt"])
    assert np.array_equal(first(read(tmp_path)), MASK)


def test_names_pair_in_any_unicode_form(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é_ü") for form in ("NFC", "NFD"))
    pair(tmp_path / "images" / f"{composed}.jpg", tmp_path / "masks" / f"{apart}.png", MASK)
    assert np.array_equal(first(read(tmp_path)), MASK)


@pytest.mark.parametrize(
    "line",
    [
        "images/a b.jpg masks/a b.png",
        "images/a b.jpg\tmasks/a b.png",
        "images/a b.jpg;masks/a b.png",
        "images\\A B.JPG,masks\\a b.png\r",
        r"D:\set\images\a b.jpg D:\set\masks\a b.png",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_may_hold_blanks_backslashes_and_separators(tmp_path, line, encoding):
    pair(tmp_path / "images" / "a b.jpg", tmp_path / "masks" / "a b.png", MASK)
    (tmp_path / "train.txt").write_bytes(f"{line}\n".encode(encoding))
    data = read(tmp_path)
    assert [data.splits["train"][0].id(0)] == ["images/a b.jpg"]


# Tables of numbers ---------------------------------------------------------------------------------------------------


def test_a_csv_may_say_that_255_is_a_class(tmp_path):
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", (MASK > 0).astype(np.uint8) * 255)
    (tmp_path / "classes.csv").write_text("value,class\n0,background\n255,object\n")
    data = read(tmp_path)
    assert (data.classes, data.mask_values) == (["background", "object"], [0, 255])
    assert np.array_equal(first(data), (MASK > 0).astype(np.uint8))
