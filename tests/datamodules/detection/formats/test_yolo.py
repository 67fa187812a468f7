"""YOLO txt reader: results, annotations left out and counted, refused files."""

import json

import numpy as np
import pytest
from pycocotools import mask as pycoco

from datamodules.detection.formats import read_yolo
from modules.contracts import DataError
from modules.contracts.image_ids import image_number
from tests.helpers.annotated import HEIGHT, WIDTH, YOLO_BOX, labels, make_image, only
from tests.helpers.errors import assert_named, refuses

NAMES = "names: [dog, cat]\n"


@pytest.fixture
def yolo(tmp_path):
    """Write images with their lines into images/train and labels/train, and a data.yaml; null is no label file."""

    def make(*files, yaml=f"train: images/train\n{NAMES}", split="train"):
        for i, lines in enumerate(files):
            make_image(tmp_path / "images" / split / f"{i}.png")
            if lines is not None:
                labels(tmp_path / "labels" / split / f"{i}.txt", *lines)
        (tmp_path / "data.yaml").write_text(yaml)
        return tmp_path

    return make


def test_centers_and_sides_in_fractions_become_corners_in_pixels(yolo):
    found = read_yolo(yolo([YOLO_BOX, "0 0.5 0.5 1 1"]), masks=False)
    assert (found.classes, found.category_ids) == (["dog", "cat"], [0, 1])
    objects = only(found)
    assert objects.boxes.tolist() == [[15, 5, 45, 15], [0, 0, WIDTH, HEIGHT]]
    assert (objects.labels.tolist(), objects.area.tolist(), objects.rles) == ([1, 0], [300, 2400], None)
    assert found.image_ids == {"images/train/0.png": image_number("images/train/0.png")}
    assert found.report() == []


def test_polygons_become_masks_and_boxes(yolo):
    root = yolo(["1 0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5"])
    assert only(read_yolo(root, masks=False)).boxes.tolist() == [[15, 10, 45, 20]]
    objects = only(read_yolo(root, masks=True))
    assert objects.rles == pycoco.frPyObjects([[15.0, 10, 45, 10, 45, 20, 15, 20]], HEIGHT, WIDTH)
    assert objects.area.tolist() == [300]


@pytest.mark.parametrize(
    ("shape", "points"), [("[2, 3]", "0.1 0.2 2 0.3 0.4 1"), ("[3, 2]", "0.1 0.2 0.3 0.4 0.5 0.6")]
)
def test_keypoints_behind_the_box_are_left_alone(yolo, shape, points):
    yaml = f"train: images/train\nkpt_shape: {shape}\n{NAMES}"
    found = read_yolo(yolo([f"{YOLO_BOX} {points}", YOLO_BOX], yaml=yaml), masks=False)
    assert only(found).boxes.tolist() == [[15, 5, 45, 15]] * 2
    (note,) = found.report()
    assert_named(note, "train", 1, 2, "dog")


def test_keypoints_of_another_number_are_left_out_by_file_and_line(yolo):
    yaml = f"train: images/train\nkpt_shape: [2, 3]\n{NAMES}"
    root = yolo([f"{YOLO_BOX} 0.1 0.2 2", YOLO_BOX], yaml=yaml)
    found = read_yolo(root, masks=False)
    assert len(only(found)) == 1
    assert_named(found.dropped[0], root / "labels/train/0.txt", "line 1", "2 keypoints", 3, "kpt_shape")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("[no, yes]", ["no", "yes"]),
        ("[on, 'off', null, ~]", ["on", "off", "null", "~"]),
        ("[1e3, 007, 1.50, 2024-01-01, 0x1F]", ["1e3", "007", "1.50", "2024-01-01", "0x1F"]),
        ("{1: True, 0: N}", ["N", "True"]),
    ],
)
def test_names_are_as_written_whatever_yaml_makes_of_them(yolo, names, classes):
    line = YOLO_BOX.replace("1", "0", 1)
    found = read_yolo(yolo([line], yaml=f"train: images/train\nnc: {len(classes)}\nnames: {names}\n"), masks=False)
    assert found.classes == classes


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_yaml_and_lists_are_read_in_other_encodings_and_with_the_paths_of_windows(yolo, encoding):
    root = yolo([YOLO_BOX], [YOLO_BOX])
    (root / "data.yaml").write_bytes("train: train.txt\r\nnames: [Tür, école]\r\n".encode(encoding))
    (root / "train.txt").write_bytes("images\\train\\0.PNG\r\nD:\\x\\images\\train\\1.png\r\n".encode(encoding))
    found = read_yolo(root, masks=False)
    assert found.classes == ["Tür", "école"]
    assert sorted(found.image_ids) == ["images/train/0.png", "images/train/1.png"]


@pytest.mark.parametrize("folder", ["data/", ""])
def test_darknets_obj_data_names_classes_and_lists(tmp_path, folder):
    """Layout of CVAT's export in YOLO 1.1."""
    for split, name in (("train", "a"), ("valid", "b c")):
        make_image(tmp_path / f"obj_{split}_data" / f"{name}.png")
        labels(tmp_path / f"obj_{split}_data" / f"{name}.txt", YOLO_BOX)
        (tmp_path / f"{split}.txt").write_text(f"{folder}obj_{split}_data/{name}.png\n")
    (tmp_path / "obj.names").write_text("dog\ncat\n")
    lists = f"train = {folder}train.txt\nvalid = {folder}valid.txt\nnames = {folder}obj.names\nbackup = backup/\n"
    (tmp_path / "obj.data").write_text(f"classes = 2\n{lists}")
    found = read_yolo(tmp_path, masks=False)
    assert (found.classes, found.category_ids) == (["dog", "cat"], [0, 1])
    assert {split: source.id(0) for split, source in found.splits.items()} == {
        "train": "obj_train_data/a.png",
        "val": "obj_valid_data/b c.png",
    }
    assert [only(found, split).boxes.tolist() for split in ("train", "val")] == [[[15, 5, 45, 15]]] * 2


def test_numbers_of_classes_may_have_gaps(yolo):
    found = read_yolo(
        yolo([YOLO_BOX, YOLO_BOX.replace("1", "7", 1)], yaml="train: images/train\nnames: {7: cat, 1: dog}\n"), False
    )
    assert (found.classes, found.category_ids, only(found).labels.tolist()) == (["dog", "cat"], [1, 7], [0, 1])


def test_images_without_label_file_are_negatives_and_counted(yolo):
    found = read_yolo(yolo([YOLO_BOX], None, []), masks=False)
    assert [len(found.splits["train"].objects(i)) for i in range(3)] == [1, 0, 0]
    assert_named(found.notes[0], "train", "txt", 1, "1.png")


@pytest.mark.parametrize(
    ("images", "texts", "entry"),
    [
        ("images/train", "labels/train", "images/train"),
        ("train/images", "train/labels", "../train/images"),
        ("train/images", "train/labels", "train/images"),
        ("set/images/train", "set/labels/train", "path: set\ntrain: images/train"),
        ("images", "labels", "images"),
        ("photos", "photos", "photos"),
        ("images/train", "labels/train", "[images/train]"),
    ],
)
def test_layouts_of_data_yaml_are_found(tmp_path, images, texts, entry):
    make_image(tmp_path / images / "a.png")
    labels(tmp_path / texts / "a.txt", YOLO_BOX)
    (tmp_path / "data.yaml").write_text(f"{entry if 'train:' in entry else f'train: {entry}'}\nnc: 2\n{NAMES}")
    found = read_yolo(tmp_path, masks=False)
    assert len(only(found)) == len(found.notes) == 1
    assert_named(found.notes[0], "train", 1, 2, "dog")


@pytest.mark.parametrize(
    ("images", "texts"), [("images", "labels"), ("images/train", "labels/train"), ("train/images", "train/labels")]
)
def test_layouts_of_classes_txt_are_found(tmp_path, images, texts):
    make_image(tmp_path / images / "a.png")
    labels(tmp_path / texts / "a.txt", YOLO_BOX)
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    assert only(read_yolo(tmp_path, masks=False)).labels.tolist() == [1]


def test_lists_of_images_are_followed(yolo):
    root = yolo([YOLO_BOX], [YOLO_BOX, YOLO_BOX], yaml=f"train: train.txt\nval: val.txt\n{NAMES}")
    (root / "train.txt").write_text("./images/train/0.png\n")
    (root / "val.txt").write_text("images/train/1.png\n")
    found = read_yolo(root, masks=False)
    assert [len(only(found, split)) for split in ("train", "val")] == [1, 2]


def test_a_split_that_the_yaml_names_but_is_not_there_is_noted(yolo):
    root = yolo([YOLO_BOX], yaml=f"train: images/train\ntest: images/test\n{NAMES}")
    assert_named(read_yolo(root, masks=False).notes[0], root / "data.yaml", "test", "images/test")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("1 0.5 0.25 0 0.25", "[0.5, 0.25, 0, 0.25]"),
        ("1 0.5 0.25 -0.5 0.25", "[0.5, 0.25, -0.5, 0.25]"),
        ("1 1.3 0.25 0.5 0.25", "[1.3, 0.25, 0.5, 0.25]"),
        ("1 nan 0.25 0.5 0.25", "[nan, 0.25, 0.5, 0.25]"),
        ("cat 0.5 0.25 0.5 0.25", "'cat 0.5 0.25 0.5 0.25'"),
        ("1 0.5 0.25 0.5", "'1 0.5 0.25 0.5'"),
        ("1 0.5 0.25 0.5 0.25 0.9", "'1 0.5 0.25 0.5 0.25 0.9'"),
    ],
)
def test_lines_that_are_no_object_are_left_out_by_file_and_line(yolo, line, name):
    root = yolo([YOLO_BOX, line, YOLO_BOX])
    found = read_yolo(root, masks=False)
    assert len(only(found)) == 2
    assert_named(found.dropped[0], root / "labels/train/0.txt", "line 2", name)


def test_boxes_without_outline_are_left_out_where_masks_are_needed(yolo):
    root = yolo([YOLO_BOX, "1 0.25 0.25 0.75 0.25 0.75 0.5"])
    found = read_yolo(root, masks=True)
    (dropped,) = found.dropped
    assert_named(dropped, root / "labels/train/0.txt", "line 1", "outline")


def test_corners_where_centers_are_meant_are_suspected(yolo):
    lines = [f"1 {x / 100} {x / 200} {x / 100 + 0.3} {x / 200 + 0.4}" for x in range(30, 70)]
    assert_named(read_yolo(yolo(lines), masks=False).notes[0], "cxcywh", "xyxy", "0 %")


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("1 30 10 30 10", ["30, 10, 30, 10"]),
        (f"{YOLO_BOX} 0.1 0.2 2 0.3 0.4 1 0.5 0.6 0 0.1 0.1 2", ["kpt_shape: [4, 3]", "data.yaml"]),
    ],
    ids=["pixels", "keypoints"],
)
def test_numbers_of_another_meaning_are_refused_by_file_and_line(yolo, line, names):
    root = yolo([line] * 3)
    with refuses(DataError, root / "labels/train/0.txt", "line 1", root / "images/train", *names):
        read_yolo(root, masks=False)


@pytest.mark.parametrize("number", ["2", "-1", "0.5"])
def test_a_class_beyond_the_names_is_refused(yolo, number):
    root = yolo([YOLO_BOX, f"{number} 0.5 0.25 0.5 0.25"])
    with refuses(DataError, root / "labels/train/0.txt", "line 2", number, root / "data.yaml", 2):
        read_yolo(root, masks=False, on_error="skip")


def test_label_files_without_image_are_refused_or_counted(yolo):
    root = yolo([YOLO_BOX])
    file = labels(root / "labels" / "train" / "gone.txt", YOLO_BOX)
    labels(root / "labels" / "train" / "classes.txt", "dog", "cat")
    with refuses(DataError, file, root / "images/train", "--data.on_error skip"):
        read_yolo(root, masks=False)
    (dropped,) = read_yolo(root, masks=False, on_error="skip").dropped
    assert_named(dropped, file, root / "images/train")


def test_listed_images_that_are_missing_are_refused(yolo):
    root = yolo([YOLO_BOX], yaml=f"train: train.txt\n{NAMES}")
    (root / "train.txt").write_text("images/train/0.png\nimages/train/9.png\n")
    with refuses(DataError, root / "images/train/9.png", "--data.on_error skip"):
        read_yolo(root, masks=False)


@pytest.mark.parametrize(
    ("yaml", "names"),
    [
        (f"train: elsewhere\n{NAMES}", ["train", "elsewhere"]),
        (f"train: images/train\nnc: 3\n{NAMES}", ["nc 3", "2 names"]),
        ("train: images/train\nnames: dog\n", ["names 'dog'"]),
        ("train: [images\nnames: [dog]\n", ["line 2"]),
        *(
            (f"train: images/train\nkpt_shape: {shape}\n{NAMES}", [f"kpt_shape {said}"])
            for shape, said in {
                "17": "'17'",
                "[17]": "['17']",
                "[17, 4]": "['17', '4']",
                "[a, 3]": "['a', '3']",
            }.items()
        ),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_refused(yolo, yaml, names):
    root = yolo([YOLO_BOX], yaml=yaml)
    with refuses(DataError, root / "data.yaml", *names):
        read_yolo(root, masks=False)


def test_what_is_no_yolo_data_is_refused_with_what_it_needs(tmp_path):
    with refuses(DataError, tmp_path, "data.yaml", "names", "train", "obj.data", "classes.txt"):
        read_yolo(tmp_path, masks=False)


def test_the_same_objects_as_in_cocos_json(data_root, tmp_path):
    source = data_root / "coco100_instances"
    if not source.is_dir():
        pytest.skip("no coco100_instances in the real data")
    content = json.loads((source / "annotations" / "instances_val.json").read_text())
    (tmp_path / "images").symlink_to(source / "images")
    known = {}
    for image in content["images"]:
        boxes = [(a["category_id"], a["bbox"]) for a in content["annotations"] if a["image_id"] == image["id"]]
        w, h = image["width"], image["height"]
        lines = [f"{c} {(x + a / 2) / w} {(y + b / 2) / h} {a / w} {b / h}" for c, (x, y, a, b) in boxes]
        labels(tmp_path / "labels" / f"{image['file_name'][:-4]}.txt", *lines)
        known[f"images/{image['file_name']}"] = [[x, y, x + a, y + b] for _, (x, y, a, b) in boxes]
    names = "\n".join(f"  {c['id']}: {c['name']}" for c in content["categories"])
    (tmp_path / "val.txt").write_text("\n".join(known))
    (tmp_path / "data.yaml").write_text(f"val: val.txt\nnames:\n{names}\n")
    found = read_yolo(tmp_path, masks=False)
    assert found.category_ids == [c["id"] for c in content["categories"]]
    assert {found.splits["val"].id(i) for i in range(20)} == known.keys()
    for i in range(20):
        expected = np.reshape(known[found.splits["val"].id(i)], (-1, 4))
        np.testing.assert_allclose(found.splits["val"].objects(i).boxes, expected, atol=0.02)
