"""COCO's formats as semantic maps, against pycocotools and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from datamodules import COCOSemantic
from modules.contracts import DataError
from tests.helpers.annotated import compressed
from tests.helpers.errors import refuses
from tests.helpers.images import save

HEIGHT, WIDTH = 20, 30
CATEGORIES = [{"id": 44, "name": "spoon"}, {"id": 7, "name": "train"}]  # neither sorted nor consecutive


def square(left: int, top: int, side: int) -> list[list[float]]:
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def box(left: int, top: int, side: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def uncompressed(mask: np.ndarray) -> dict:
    flat = np.concatenate([[0], mask.T.ravel(), [2]])
    changes = np.flatnonzero(np.diff(flat.astype(int)))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], changes])).tolist()}


def annotation(category: int, segmentation: list | dict, crowd: int = 0, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": crowd}


def write(root: Path, annotations: list[dict], name: str = "instances_train2017", **changes) -> Path:
    """A json of two images, the second without annotations, and the images."""
    file, folder = root / "annotations" / f"{name}.json", root / "train2017"
    file.parent.mkdir(exist_ok=True)
    images = [{"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in (2, 1)]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | changes))
    for i in (1, 2):
        save(np.zeros((HEIGHT, WIDTH, 3), np.uint8), folder / f"{i}.png")
    return file


def coco(root: Path, kind: str = "instances") -> COCOSemantic:
    data = COCOSemantic(str(root), kind, image_size=None, workers=0, val_split=0.0, batch_size=1)
    data.setup("fit")
    return data


def first(data: COCOSemantic) -> np.ndarray:
    return data.splits["train"][0].mask(0)


# Outlines ------------------------------------------------------------------------------------------------------------


def test_categories_become_consecutive_in_order_of_their_ids_behind_background(tmp_path):
    write(tmp_path, [annotation(44, square(2, 3, 5)), annotation(7, square(10, 10, 4))])
    data = coco(tmp_path)
    assert data.classes == ["background", "train", "spoon"]
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[box(2, 3, 5)], expected[box(10, 10, 4)] = 2, 1
    np.testing.assert_array_equal(first(data), expected)


def test_an_image_without_annotations_is_background(tmp_path):
    write(tmp_path, [annotation(44, square(2, 3, 5))])
    data = coco(tmp_path)
    assert data.splits["train"][0].id(1) == "train2017/2.png"
    assert not data.splits["train"][0].mask(1).any()


@pytest.mark.parametrize("order", [1, -1])
def test_small_objects_lie_on_large_ones(tmp_path, order):
    write(tmp_path, [annotation(44, square(2, 2, 14)), annotation(7, square(5, 5, 4))][::order])
    expected = np.where(box(5, 5, 4), 1, 2 * box(2, 2, 14))
    np.testing.assert_array_equal(first(coco(tmp_path)), expected)


@pytest.mark.parametrize("form", [uncompressed, compressed, lambda mask: square(2, 2, 16)])
def test_crowds_are_void_except_where_objects_are(tmp_path, form):
    write(tmp_path, [annotation(44, square(4, 4, 3)), annotation(7, form(box(2, 2, 16)), crowd=1)])
    np.testing.assert_array_equal(first(coco(tmp_path)), np.where(box(4, 4, 3), 2, 255 * box(2, 2, 16)))


def test_outlines_of_no_area_cover_nothing(tmp_path):
    write(tmp_path, [annotation(44, [[3, 3, 9, 9]]), annotation(7, [])])
    assert not first(coco(tmp_path)).any()


def test_stuff_has_no_background_and_what_is_not_covered_is_void(tmp_path):
    write(tmp_path, [annotation(44, compressed(box(2, 3, 5)))], name="stuff_train2017")
    data = coco(tmp_path, "stuff")
    assert data.classes == ["train", "spoon"]
    np.testing.assert_array_equal(first(data), np.where(box(2, 3, 5), 1, 255))


def test_real_maps_are_what_pycocotools_draws(data_root):
    root = data_root / "coco100_instances"
    if not root.is_dir():
        pytest.skip("no coco100_instances in the real data")
    data = COCOSemantic(str(root), image_size=(128, 160), workers=0, batch_size=16)
    data.setup("fit")
    assert len(data.classes) == 81 and data.classes[:3] == ["background", "person", "bicycle"]
    sizes = {split: len(rows) for split, (_, rows) in data.splits.items()}
    assert sizes == {"train": 80, "val": 20}
    reference = COCO(str(root / "annotations" / "instances_train.json"))
    order = {c: i + 1 for i, c in enumerate(sorted(reference.cats))}
    source, _ = data.splits["train"]
    known = {Path(image["file_name"]).name: key for key, image in reference.imgs.items()}
    crowds = 0
    for i in range(len(source)):
        annotations = reference.imgToAnns[known[Path(source.id(i)).name]]
        expected = np.zeros(source.image(i).shape[:2], np.uint8)
        for a in sorted(annotations, key=lambda a: (-a["iscrowd"], -int(reference.annToMask(a).sum()))):
            expected[reference.annToMask(a) > 0] = 255 if a["iscrowd"] else order[a["category_id"]]
        crowds += any(a["iscrowd"] for a in annotations)
        np.testing.assert_array_equal(source.mask(i), expected)
    assert crowds > 2
    assert next(iter(data.train_dataloader()))["mask"].shape == (16, 128, 160)


# Panoptic ------------------------------------------------------------------------------------------------------------


def panoptic(root: Path, segments: list[dict], numbers: np.ndarray) -> Path:
    annotations = [
        {"image_id": i, "file_name": f"{i}.png", "segments_info": segments if i == 1 else []} for i in (1, 2)
    ]
    file = write(root, annotations, name="panoptic_train2017")
    folder = file.with_suffix("")
    colors = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)
    save(colors, folder / "1.png")
    save(np.zeros((HEIGHT, WIDTH, 3), np.uint8), folder / "2.png")
    return file


def test_segments_have_the_class_of_their_category(tmp_path):
    numbers = np.zeros((HEIGHT, WIDTH), np.int64)
    numbers[:5], numbers[5:9], numbers[9:12], numbers[12:15] = 7_000_000, 300, 5, 65536
    segments = [
        {"id": 300, "category_id": 7, "iscrowd": 0},
        {"id": 7_000_000, "category_id": 44, "iscrowd": 0},
        {"id": 5, "category_id": 44, "iscrowd": 1},
        {"id": 65536, "category_id": 7},
    ]
    panoptic(tmp_path, segments, numbers)
    data = coco(tmp_path, "panoptic")
    assert data.classes == ["train", "spoon"]
    rows = np.array([1] * 5 + [0] * 4 + [255] * 3 + [0] * 3 + [255] * 5)
    np.testing.assert_array_equal(first(data), np.repeat(rows[:, None], WIDTH, 1))


def test_a_segment_that_the_json_does_not_know_is_refused(tmp_path):
    file = panoptic(tmp_path, [{"id": 5, "category_id": 7}], np.full((HEIGHT, WIDTH), 6))
    with refuses(DataError, file.with_suffix("") / "1.png", "segment 6", file):
        coco(tmp_path, "panoptic")


def test_a_gray_png_is_no_panoptic_one(tmp_path):
    file = panoptic(tmp_path, [], np.zeros((HEIGHT, WIDTH), int))
    Image.new("L", (WIDTH, HEIGHT)).save(file.with_suffix("") / "1.png")
    with refuses(DataError, file.with_suffix("") / "1.png", "RGB"):
        coco(tmp_path, "panoptic")


# Layouts, and what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["images", "images/train2017", "train", "images/train"])
def test_images_lie_where_coco_and_its_imitators_have_them(tmp_path, place):
    write(tmp_path, [annotation(44, square(2, 3, 5))])
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / "train2017").rename(tmp_path / place)
    assert coco(tmp_path).splits["train"][0].id(0) == f"{place}/1.png"


def test_a_changed_json_is_counted_anew(tmp_path):
    write(tmp_path, [annotation(44, square(2, 3, 5))])
    assert coco(tmp_path).class_pixels()[0].tolist() == [2 * HEIGHT * WIDTH - 25, 0, 25]
    write(tmp_path, [annotation(44, square(2, 3, 6))])
    assert coco(tmp_path).class_pixels()[0].tolist() == [2 * HEIGHT * WIDTH - 36, 0, 36]


def test_an_image_of_another_size_than_the_json_says_is_refused(tmp_path):
    file = write(tmp_path, [])
    save(np.zeros((10, 10, 3), np.uint8), tmp_path / "train2017" / "2.png")
    with refuses(DataError, file, "2.png", "30 x 20", tmp_path / "train2017" / "2.png", "10 x 10"):
        coco(tmp_path)


BAD = {
    "no json": ({}, "{", ["line 1 column 2"]),
    "no list": ({}, '{"images": []}', ["'annotations'"]),
    "no images": ({"images": []}, None, []),
    "category": ({"annotations": [annotation(8, [])]}, None, ["category 8", "image 1"]),
    "image": ({"annotations": [annotation(7, [], image=9)]}, None, ["image 9"]),
    "outline": ({"annotations": [annotation(7, {"size": [1, 2], "counts": [2]})]}, None, ["1.png", "[1, 2]"]),
    "form": ({"annotations": [annotation(7, [[1, 2, "x", 4, 5, 6]])]}, None, ["1.png", "'x'"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_json_that_is_none_of_cocos_is_refused(tmp_path, name):
    changes, text, names = BAD[name]
    file = write(tmp_path, **({"annotations": []} | changes))
    if text:
        file.write_text(text)
    with refuses(DataError, file, *names):
        coco(tmp_path)


def test_images_that_are_not_there_are_named(tmp_path):
    file = write(tmp_path, [])
    (tmp_path / "train2017" / "2.png").unlink()
    with refuses(DataError, tmp_path / "train2017" / "2.png", file):
        coco(tmp_path)
    (tmp_path / "train2017" / "1.png").unlink()
    with refuses(DataError, "1.png", file, tmp_path / "train2017"):
        coco(tmp_path)


def test_no_annotations_or_two_of_them_are_refused(tmp_path):
    with refuses(DataError, tmp_path / "annotations", "instances_train*.json", "instances_val*.json"):
        coco(tmp_path)
    write(tmp_path, [])
    write(tmp_path, [], name="instances_train2014")
    with refuses(DataError, tmp_path / "annotations", "instances_train2014.json", "instances_train2017.json"):
        coco(tmp_path)


def test_splits_of_other_categories_are_refused(tmp_path):
    other = write(tmp_path, [])
    file = write(tmp_path, [], name="instances_val2017", categories=CATEGORIES[:1])
    with refuses(DataError, file, other):
        coco(tmp_path)
