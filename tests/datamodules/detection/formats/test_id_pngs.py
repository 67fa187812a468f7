"""Instance-id PNG reader: results, objects left out and counted, refused files."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycoco

from datamodules.detection.formats import read_coco, read_id_pngs
from modules.contracts import DataError
from tests.helpers.annotated import HEIGHT, NUMBERS, WIDTH, make_image, mask, only
from tests.helpers.errors import assert_named, refuses


def test_every_value_is_an_object_with_box_area_and_mask(tmp_path):
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png")
    found = read_id_pngs(tmp_path, masks=True)
    assert (found.classes, found.category_ids) == (["object"], [1])
    objects = only(found)
    assert objects.boxes.tolist() == [[0, 0, 30, 40], [50, 30, 60, 40]]
    assert (objects.labels.tolist(), objects.area.tolist()) == ([0, 0], [202, 100])
    assert objects.rles == [pycoco.encode(np.asfortranarray((n == NUMBERS).astype(np.uint8))) for n in (3, 700)]
    assert found.report() == []


def test_boxes_alone_come_without_masks(tmp_path):
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png")
    objects = only(read_id_pngs(tmp_path, masks=False))
    assert (len(objects), objects.rles, objects.area.tolist()) == (2, None, [202, 100])


def test_an_empty_mask_is_a_negative(tmp_path):
    for name in "ab":
        make_image(tmp_path / "images" / f"{name}.jpg")
    mask(tmp_path / "masks" / "a.png", np.zeros_like(NUMBERS))
    mask(tmp_path / "masks" / "b.png")
    source = read_id_pngs(tmp_path, masks=True).splits["train"]
    assert [len(source.objects(i)) for i in range(2)] == [0, 2]


@pytest.mark.parametrize(
    ("images", "masks", "ending"),
    [
        ("images", "masks", ""),
        ("PNGImages", "PedMasks", "_mask"),
        ("train/images", "train/masks", ""),
        ("images/train", "masks/train", ""),
        ("JPEGImages", "SegmentationObject", ""),
        ("images/deep", "masks/deep", ""),
    ],
)
def test_layouts_that_people_use_are_found(tmp_path, images, masks, ending):
    make_image(tmp_path / images / "a.jpg")
    mask(tmp_path / masks / f"a{ending}.png")
    assert len(only(read_id_pngs(tmp_path, masks=True))) == 2


def test_splits_come_from_folders(tmp_path):
    for split in ("train", "valid"):
        make_image(tmp_path / split / "images" / "a.jpg")
        mask(tmp_path / split / "masks" / "a.png")
    found = read_id_pngs(tmp_path, masks=True)
    assert {split: source.id(0) for split, source in found.splits.items()} == {
        "train": "train/images/a.jpg",
        "val": "valid/images/a.jpg",
    }


@pytest.mark.parametrize("kind", ["L", "P", "I;16"])
def test_gray_palette_and_16_bit_masks_are_numbers(tmp_path, kind):
    make_image(tmp_path / "images" / "a.jpg")
    path = mask(tmp_path / "masks" / "a.png", np.minimum(NUMBERS, 9) if kind == "I;16" else np.uint8(NUMBERS % 256))
    if kind == "P":
        image = Image.open(path)
        image.putpalette(list(range(255, -1, -1)) * 3)
        image.save(path)
    assert only(read_id_pngs(tmp_path, masks=True)).area.tolist() == [202, 100]


def test_with_several_classes_the_thousands_are_the_class(tmp_path):
    numbers = np.where(NUMBERS == 3, 2005, NUMBERS * 0 + 1001 * (NUMBERS > 3)).astype(np.uint16)
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png", numbers)
    found = read_id_pngs(tmp_path, masks=True, classes=["cat", "dog"])
    assert (found.classes, found.category_ids) == (["cat", "dog"], [1, 2])
    assert only(found).labels.tolist() == [0, 1]
    mask(tmp_path / "masks" / "a.png", numbers + np.uint16(1000))
    with refuses(DataError, tmp_path / "masks" / "a.png", 3005, 1000, 2999, "data.classes"):
        read_id_pngs(tmp_path, masks=True, classes=["cat", "dog"])


def test_one_class_can_be_named(tmp_path):
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png")
    found = read_id_pngs(tmp_path, masks=True, classes=["nucleus"])
    assert (found.classes, only(found).labels.tolist()) == (["nucleus"], [0, 0])


def test_maps_of_classes_are_suspected(tmp_path):
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png", np.uint8(255) * np.uint8(NUMBERS > 0))
    assert_named(read_id_pngs(tmp_path, masks=True).notes[0], "maps of classes")


def no_mask(root):
    (root / "masks" / "b.png").unlink()
    return [root / "images" / "b.jpg", root / "masks"]


def no_image(root):
    (root / "images" / "b.jpg").unlink()
    return [root / "masks" / "b.png"]


def other_size(root):
    mask(root / "masks" / "b.png", NUMBERS[:20])
    return [root / "images" / "b.jpg", "b.png", "60 x 40", "60 x 20"]


def damaged(root):
    (root / "masks" / "b.png").write_bytes(b"no image")
    return [root / "images" / "b.jpg", root / "masks" / "b.png"]


@pytest.mark.parametrize("defect", [no_mask, no_image, other_size, damaged])
def test_images_and_masks_that_do_not_fit_are_refused_or_counted(tmp_path, defect):
    for name in "ab":
        make_image(tmp_path / "images" / f"{name}.jpg")
        mask(tmp_path / "masks" / f"{name}.png")
    names = defect(tmp_path)
    with refuses(DataError, *names, "--data.on_error skip"):
        read_id_pngs(tmp_path, masks=True)
    found = read_id_pngs(tmp_path, masks=True, on_error="skip")
    assert len(only(found)) == 2
    (skipped,) = found.skipped
    assert_named(skipped, *names)


def test_masks_of_colors_are_refused(tmp_path):
    make_image(tmp_path / "images" / "a.jpg")
    mask(tmp_path / "masks" / "a.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with refuses(DataError, tmp_path / "masks" / "a.png", "RGB", "labelmap.txt"):
        read_id_pngs(tmp_path, masks=True)


def test_nuclei_are_the_same_as_in_their_json(data_root):
    root = data_root / "dsb2018_nuclei"
    if not root.is_dir():
        pytest.skip("no dsb2018_nuclei in the real data")
    source = read_id_pngs(root, masks=True).splits["train"]
    numbered = {source.id(i): source.objects(i) for i in range(len(source))}
    found = read_coco(root, masks=True)
    assert found.dropped == found.skipped == found.notes == []
    total = 0
    for split in found.splits.values():
        for i in range(len(split)):
            ours, theirs = numbered.pop(split.id(i)), split.objects(i)
            key = [sorted(zip([r["counts"] for r in o.rles], o.boxes.tolist(), strict=True)) for o in (ours, theirs)]
            assert key[0] == key[1]
            total += len(ours)
    assert (len(numbered), total) == (0, 5108)
