"""Keypoints in COCO's json: results, what is counted, refused files."""

import json

import pytest

from datamodules import DetectionFolder
from datamodules.detection.formats import read_coco
from modules.contracts import ConfigError, DataError
from tests.helpers.annotated import annotation, coco, only
from tests.helpers.errors import assert_named, line_naming, refuses

NAMES = ["nose", "left_ear", "right_ear"]
CATEGORIES = [{"id": 7, "name": "cat", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}, {"id": 3, "name": "dog"}]
POINTS = [12, 6, 2, 11, 8, 1, 0, 0, 0]


def write(root, *annotations, categories=CATEGORIES, **more):
    return coco(root, list(annotations), categories=categories, **more)


def test_keypoints_names_skeleton_and_pairs_are_read(tmp_path):
    write(tmp_path, annotation(keypoints=POINTS), annotation(), annotation(category=3, keypoints=[]))
    found = read_coco(tmp_path, masks=False, keypoints=True)
    assert found.keypoints.names == tuple(NAMES)
    assert found.keypoints.edges == [(0, 1), (0, 2)] and found.keypoints.flipped.tolist() == [0, 2, 1]
    assert only(found).keypoints.tolist() == [[[12, 6, 2], [11, 8, 1], [0, 0, 0]], [[0] * 3] * 3, [[0] * 3] * 3]
    assert found.dropped == found.notes == []


def test_without_keypoints_wanted_none_are_read(tmp_path):
    write(tmp_path, annotation(keypoints=[1]))
    found = read_coco(tmp_path, masks=False)
    assert found.keypoints is None and only(found).keypoints is None


def test_the_file_of_person_keypoints_comes_before_that_of_instances(tmp_path):
    file = write(tmp_path, annotation(keypoints=POINTS))
    (file.parent / "person_keypoints_train.json").write_bytes(file.read_bytes())
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert len(only(read_coco(tmp_path, masks=False, keypoints=True)).boxes) == 1


def test_keypoints_outside_of_their_box_are_kept_and_counted(tmp_path):
    write(tmp_path, annotation(keypoints=[50, 6, 2, *POINTS[3:]]), annotation(keypoints=POINTS))
    found = read_coco(tmp_path, masks=False, keypoints=True)
    assert only(found).keypoints[0, 0].tolist() == [50, 6, 2]
    line = line_naming(found.notes, "outside of their box")
    assert_named(line, "1", "2", "annotations[0]")


@pytest.mark.parametrize(
    ("points", "named"),
    [
        ([1, 2, 2], ["3 values", "9"]),
        ([*POINTS, 1, 2, 2], ["12 values", "9"]),
        ([1, 2, 3, *POINTS[3:]], ["visibility", "3", "nose"]),
        ([1, 2, 0.5, *POINTS[3:]], ["visibility", "0.5"]),
        (["a", 2, 2, *POINTS[3:]], ["no numbers"]),
        ([float("nan"), 2, 2, *POINTS[3:]], ["no number"]),
    ],
)
def test_wrong_keypoints_are_refused_with_file_and_id(tmp_path, points, named):
    file = write(tmp_path, annotation(keypoints=points, id=41))
    with refuses(DataError, str(file), "annotations[0]", "41", *named):
        read_coco(tmp_path, masks=False, keypoints=True)


@pytest.mark.parametrize(
    ("cat", "dog", "named"),
    [
        ({}, {}, ["keypoints"]),
        ({"keypoints": NAMES}, {"keypoints": NAMES[:2]}, ["dog", "cat", "same"]),
        ({"keypoints": "nose"}, {}, ["cat", "'nose'"]),
        ({"keypoints": ["a", "a"]}, {}, ["cat", "'a'"]),
        ({"keypoints": NAMES, "skeleton": [[1, 4]]}, {}, ["cat", "skeleton", "[1, 4]"]),
        ({"keypoints": NAMES, "skeleton": [[0, 1]]}, {}, ["cat", "skeleton", "[0, 1]"]),
        ({"keypoints": NAMES, "skeleton": [[1, 2, 3]]}, {}, ["cat", "skeleton", "[1, 2, 3]"]),
        ({"keypoints": NAMES, "skeleton": [1, 2]}, {}, ["cat", "skeleton", "1"]),
    ],
)
def test_wrong_categories_are_refused_by_name(tmp_path, cat, dog, named):
    names = [name if name != "same" else "one list" for name in named]
    write(tmp_path, annotation(), categories=[{"id": 7, "name": "cat"} | cat, {"id": 3, "name": "dog"} | dog])
    with refuses(DataError, *names):
        read_coco(tmp_path, masks=False, keypoints=True)


def test_a_split_with_other_keypoints_is_refused(tmp_path):
    write(tmp_path, annotation(keypoints=POINTS))
    other = [{"id": 7, "name": "cat", "keypoints": NAMES[::-1]}, CATEGORIES[1]]
    write(tmp_path, annotation(image=2), categories=other, split="val")
    with refuses(DataError, "instances_val.json", "instances_train.json", "keypoints"):
        read_coco(tmp_path, masks=False, keypoints=True)


def test_the_folder_takes_pairs_from_a_setting(tmp_path):
    write(tmp_path, annotation(keypoints=POINTS))
    settings = {"root": str(tmp_path), "keypoints": True, "workers": 0}
    assert DetectionFolder(**settings, flip_pairs=[]).layout.flipped.tolist() == [0, 1, 2]
    with refuses(ConfigError, "flip_pairs", "tail"):
        DetectionFolder(**settings, flip_pairs=[["nose", "tail"]])
    with refuses(ConfigError, "data.keypoints", "yolo"):
        DetectionFolder(**settings, format="yolo")
