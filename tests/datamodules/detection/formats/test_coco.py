"""COCO json reader: results, annotations left out and counted, refused files."""

import json
import pickle
import unicodedata
from collections.abc import Iterator
from functools import reduce
from operator import getitem
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as pycoco
from pycocotools.coco import COCO

from datamodules.detection.formats import read_coco, read_csv
from modules.contracts import DataError
from tests.helpers.annotated import HEIGHT, WIDTH, annotation, coco, compressed, image, make_image, only
from tests.helpers.errors import assert_named, line_naming, refuses

TRIANGLE = [10.0, 5.0, 30.0, 5.0, 10.0, 15.0]
SQUARE = np.zeros((HEIGHT, WIDTH), np.uint8)
SQUARE[5:15, 10:30] = 1


def plain(mask: np.ndarray = SQUARE) -> dict:
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.r_[0, flat]))  # a mask that begins with background
    return {"size": list(mask.shape), "counts": np.diff(np.r_[0, edges, len(flat)]).tolist()}


# Results --------------------------------------------------------------------------------------------------------------


def test_boxes_become_corners_and_sparse_ids_indices(tmp_path):
    coco(tmp_path, [annotation(area=55.5), annotation(category=3, box=[0, 0, 60, 40], iscrowd=1)])
    found = read_coco(tmp_path, masks=False)
    assert (found.classes, found.category_ids) == (["dog", "cat"], [3, 7])
    objects = only(found)
    assert objects.boxes.tolist() == [[10, 5, 30, 15], [0, 0, 60, 40]]
    assert objects.labels.tolist() == [1, 0]
    assert objects.crowd.tolist() == [False, True]
    assert objects.area.tolist() == [55.5, 2400]
    assert objects.rles is None
    assert found.image_ids == {"images/1.png": 1}
    assert found.dropped == found.skipped == found.notes == []


@pytest.mark.parametrize("box", [[], None, [0, 0, 0, 0]])
@pytest.mark.parametrize("masks", [True, False])
def test_a_box_that_says_nothing_is_that_of_the_outline(tmp_path, box, masks):
    coco(tmp_path, [annotation(box=box, segmentation=[TRIANGLE])])
    found = read_coco(tmp_path, masks)
    left, top, width, height = pycoco.toBbox(pycoco.frPyObjects([TRIANGLE], HEIGHT, WIDTH)[0])
    assert only(found).boxes.tolist() == [[left, top, left + width, top + height]]
    assert found.dropped == []


def test_numbers_as_text_are_numbers(tmp_path):
    text = image(1) | {"id": "1", "height": str(HEIGHT), "width": f"{WIDTH}"}
    make_image(tmp_path / "images" / "1.png")
    entry = {"image_id": "1", "category_id": "7", "bbox": ["10", "5", "20", "10"], "area": "55.5", "iscrowd": "0"}
    coco(tmp_path, [entry | {"segmentation": [[*map(str, TRIANGLE)]]}], images=[text], categories=[
        {"id": "7", "name": "cat"}, {"id": "3", "name": "dog"}
    ])  # fmt: skip
    found = read_coco(tmp_path, masks=True)
    assert (found.classes, found.category_ids, found.image_ids) == (["dog", "cat"], [3, 7], {"images/1.png": 1})
    objects = only(found)
    assert (objects.boxes.tolist(), objects.labels.tolist()) == ([[10, 5, 30, 15]], [1])
    assert (objects.area.tolist(), objects.crowd.tolist()) == ([55.5], [False])
    assert objects.rles == pycoco.frPyObjects([TRIANGLE], HEIGHT, WIDTH)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_may_be_spelled_in_another_unicode_form_or_case(tmp_path, forms):
    listed, there = (unicodedata.normalize(form, "é_ü.PNG") for form in forms)
    make_image(tmp_path / "images" / there)
    coco(tmp_path, [annotation()], images=[image(1) | {"file_name": listed.replace("PNG", "png")}])
    found = read_coco(tmp_path, masks=False)
    assert found.splits["train"].id(0) == f"images/{there}"


def test_ids_that_the_files_lack_do_not_shift_when_an_image_is_skipped(tmp_path):
    for name in ("a", "b", "c"):
        make_image(tmp_path / "images" / f"{name}.png")
    rows = [f"{name}.png,10,5,30,15,cat" for name in ("a", "b", "c")]
    (tmp_path / "train.csv").write_text("\n".join(["path,xmin,ymin,xmax,ymax,class", *rows]))
    before = read_csv(tmp_path).image_ids
    (tmp_path / "images" / "a.png").write_bytes(b"broken")
    after = read_csv(tmp_path, on_error="skip").image_ids
    assert after == {name: before[name] for name in ("images/b.png", "images/c.png")}


def test_types_are_those_of_the_contract(tmp_path):
    coco(tmp_path, [annotation(segmentation=[TRIANGLE])])
    objects = only(read_coco(tmp_path, masks=True))
    found = [a.dtype.name for a in (objects.boxes, objects.labels, objects.crowd, objects.area)]
    assert found == ["float32", "int64", "bool", "float32"]
    assert objects.rles[0]["size"] == [HEIGHT, WIDTH]
    assert isinstance(objects.rles[0]["counts"], bytes)


@pytest.mark.parametrize("outline", [compressed(SQUARE), plain()])
def test_run_lengths_of_both_kinds_become_the_same_mask(tmp_path, outline):
    coco(tmp_path, [annotation(segmentation=outline)])
    objects = only(read_coco(tmp_path, masks=True))
    assert (pycoco.decode(objects.rles[0]) == SQUARE).all()
    assert objects.area.tolist() == [200]


def test_polygons_of_an_object_become_one_mask_as_pycocotools_draws_them(tmp_path):
    polygons = [TRIANGLE, [40.2, 20.1, 55.7, 20.3, 50.9, 35.5]]
    coco(tmp_path, [annotation(segmentation=polygons)])
    expected = pycoco.merge(pycoco.frPyObjects(polygons, HEIGHT, WIDTH))
    assert only(read_coco(tmp_path, masks=True)).rles == [expected]


def test_an_object_without_box_gets_that_of_its_outline(tmp_path):
    coco(tmp_path, [annotation(box=None, segmentation=compressed(SQUARE))])
    for masks in (False, True):
        assert only(read_coco(tmp_path, masks)).boxes.tolist() == [[10, 5, 30, 15]]


def test_images_without_annotations_are_negatives(tmp_path):
    make_image(tmp_path / "images" / "2.png")
    make_image(tmp_path / "images" / "1.png")
    coco(tmp_path, [annotation(2, segmentation=[TRIANGLE])], [image(1), image(2)])
    source = read_coco(tmp_path, masks=True).splits["train"]
    empty = source.objects(0)
    assert (empty.boxes.shape, empty.labels.shape, empty.area.shape, empty.rles) == ((0, 4), (0,), (0,), [])
    assert (source.id(0), source.shape(0)) == ("images/1.png", (HEIGHT, WIDTH))
    assert len(source.objects(1)) == 1


def test_a_split_without_any_object_can_be_tested_on(tmp_path):
    coco(tmp_path, [annotation(1)])
    make_image(tmp_path / "images" / "2.png")
    coco(tmp_path, [], [image(2)], split="test")
    objects = only(read_coco(tmp_path, masks=False), "test")
    assert (objects.boxes.shape, objects.labels.shape) == ((0, 4), (0,))


def test_objects_stay_with_their_images_whatever_their_order(tmp_path):
    boxes = {k: [k, k, 2, 2] for k in range(1, 13)}
    coco(tmp_path, [annotation(1 + k % 3, box=box) for k, box in boxes.items()])
    source = read_coco(tmp_path, masks=False).splits["train"]
    found = [source.objects(i).boxes[:, 0].tolist() for i in range(3)]
    assert found == [[3, 6, 9, 12], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_classes_agree_between_splits_however_they_are_ordered(tmp_path):
    coco(tmp_path, [annotation(1)])
    names = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    coco(tmp_path, [annotation(2, category=7)], split="val2017", categories=names)
    found = read_coco(tmp_path, masks=False)
    assert list(found.splits) == ["train", "val"]
    assert only(found, "val").labels.tolist() == [1]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("annotations/instances_train2017.json", "images/train2017"),
        ("annotations/train.json", "images"),
        ("train/_annotations.coco.json", "train"),
        ("train.json", "."),
        ("labels.json", "images"),
        ("nuclei/annotations.json", "nuclei/images"),
    ],
)
def test_layouts_that_people_use_are_found(tmp_path, file, folder):
    made = coco(tmp_path / "made", [annotation()])
    (tmp_path / "set" / file).parent.mkdir(parents=True)
    made.rename(tmp_path / "set" / file)
    make_image(tmp_path / "set" / folder / "1.png")
    found = read_coco(tmp_path / "set", masks=False)
    assert found.splits["train"].path(0) == tmp_path / "set" / folder / "1.png"
    assert found.splits["train"].image(0).shape == (HEIGHT, WIDTH, 3)


def test_other_tasks_of_coco_are_passed_over(tmp_path):
    file = coco(tmp_path, [annotation()])
    for name in ("captions_train.json", "person_keypoints_train.json", "panoptic_train.json"):
        file.with_name(name).write_text('{"annotations": []}')
    assert len(read_coco(tmp_path, masks=False).splits["train"]) == 1


def test_names_written_on_other_machines_are_found(tmp_path):
    make_image(tmp_path / "images" / "1.png")
    coco(tmp_path, [annotation()], [image(1, file_name="C:\\photos\\1.png")])
    assert read_coco(tmp_path, masks=False).splits["train"].id(0) == "images/1.png"


def test_a_source_goes_to_workers_in_a_few_arrays(tmp_path):
    coco(tmp_path, [annotation(k, segmentation=[TRIANGLE]) for k in range(1, 4)])
    source = read_coco(tmp_path, masks=True).splits["train"]
    again = pickle.loads(pickle.dumps(source))
    assert again.objects(2).rles == source.objects(2).rles
    assert (again.labels, again.path(1)) == (None, source.path(1))


# Left out and counted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "name"),
    [
        ([10, 5, 0, 10], "[10, 5, 0, 10]"),
        ([10, 5, 20, -3], "[10, 5, 20, -3]"),
        ([70, 5, 20, 10], "[70, 5, 20, 10]"),
        ([-20, 5, 20, 10], "[-20, 5, 20, 10]"),
        ([10, float("nan"), 20, 10], "[10, nan, 20, 10]"),
        ([10, 5, float("inf"), 10], "[10, 5, inf, 10]"),
        ([10, 5, 20], "[10, 5, 20]"),
        ([10, 5, "wide", 10], "[10, 5, wide, 10]"),
        ("10 5 20 10", "'10 5 20 10'"),
        (None, "box"),
    ],
)
def test_boxes_that_are_none_are_left_out_by_file_and_index(tmp_path, box, name):
    file = coco(tmp_path, [annotation(), annotation(box=box), annotation(box=[1, 2, 3, 4])])
    found = read_coco(tmp_path, masks=False)
    assert only(found).boxes.tolist() == [[10, 5, 30, 15], [1, 2, 4, 6]]
    (line,) = found.dropped
    assert_named(line, file, "annotations[1]", name)
    said, first = found.report()[:2]
    assert_named(said, 1, 3, "dropped.txt")
    assert_named(first, line)


def test_boxes_that_reach_out_are_clipped_and_counted_once(tmp_path):
    boxes = [[-5, -5, 20, 20], [50, 30, 20, 20], [0, 0, 60.4, 40]]
    file = coco(tmp_path, [annotation(box=box) for box in boxes])
    found = read_coco(tmp_path, masks=False)
    assert only(found).boxes.tolist() == [[0, 0, 15, 15], [50, 30, 60, 40], [0, 0, 60, 40]]
    assert_named(found.notes[0], "boxes", 2, file, "annotations[0]")
    assert found.dropped == []


@pytest.mark.parametrize(
    ("outline", "names"),
    [
        ([[10, 5, 30, 5]], []),
        ([], []),
        ([[10, 5, 30, 5, 10]], []),
        ([[10, 5, 30, "a", 10, 15]], []),
        ([[10, 5, 1e9, 5, 10, 15]], []),
        ([[70, 5, 90, 5, 70, 15]], []),
        (compressed(SQUARE.T), ["[60, 40]", "[40, 60]"]),
        ({**plain(), "counts": [100, 50]}, ["150", "2,400"]),
        ({**compressed(SQUARE), "counts": compressed(np.ones((4, 4), np.uint8))["counts"]}, ["16", "2,400"]),
        ({**compressed(SQUARE), "counts": compressed(SQUARE)["counts"] + "~"}, []),
        ({**plain(), "counts": [-5, 2405]}, []),
        ({**plain(), "counts": None}, []),
        ("polygon", []),
        (None, []),
    ],
)
def test_outlines_that_say_nothing_are_left_out_where_masks_are_needed(tmp_path, outline, names):
    file = coco(tmp_path, [annotation(segmentation=compressed(SQUARE)), annotation(segmentation=outline)])
    found = read_coco(tmp_path, masks=True)
    assert len(only(found)) == 1
    assert_named(found.dropped[0], file, "annotations[1]", "outline", *names)
    assert len(only(read_coco(tmp_path, masks=False))) == 2


def test_a_part_of_two_points_leaves_the_rest_of_the_outline_and_is_counted(tmp_path):
    file = coco(tmp_path, [annotation(segmentation=[TRIANGLE, [1, 1, 2, 2]])])
    found = read_coco(tmp_path, masks=True)
    assert only(found).rles == [pycoco.frPyObjects([TRIANGLE], HEIGHT, WIDTH)[0]]
    assert_named(found.notes[0], "outlines", 1, file, "annotations[0]")


def test_corners_where_sides_are_meant_are_suspected(tmp_path):
    random = np.random.default_rng(0)
    low = random.uniform(0, 30, (30, 2))
    corners = np.concatenate([low, low + random.uniform(3, 10, (30, 2))], 1)
    file = coco(tmp_path, [annotation(box=box.tolist()) for box in corners])
    note = read_coco(tmp_path, masks=False).notes[0]
    assert_named(note, file, "xywh", "xyxy", "0 %")


def test_classes_without_objects_are_named(tmp_path):
    coco(tmp_path, [annotation()])
    (note,) = read_coco(tmp_path, masks=False).notes
    assert_named(note, "train", 1, 2, "dog")


def test_images_in_no_split_are_named(tmp_path):
    make_image(tmp_path / "images" / "extra.png")
    coco(tmp_path, [annotation(1), annotation(2, category=3)])
    coco(tmp_path, [annotation(2)], split="val")
    assert line_naming(read_coco(tmp_path, masks=False).notes, "images/extra.png", 1)


# Refused, or left out by on_error skip --------------------------------------------------------------------------------


def missing(root):
    coco(root, [annotation(1), annotation(2)])
    (root / "images" / "2.png").unlink()
    return ["2.png"]


def truncated(root):
    coco(root, [annotation(1), annotation(2)])
    file = root / "images" / "2.png"
    file.write_bytes(file.read_bytes()[:2000])
    return ["2.png"]


def resized(root):
    coco(root, [annotation(1), annotation(2)])
    make_image(root / "images" / "2.png", (20, 30))
    return ["2.png", "30 x 20", "60 x 40"]


def turned(root):
    coco(root, [annotation(1), annotation(2)])
    make_image(root / "images" / "2.png", orientation=6)
    return ["2.png", "EXIF", "40 x 60", "60 x 40"]


def twice(root):
    coco(root, [annotation(1)], [image(1), image(2, file_name="1.png")])
    make_image(root / "images" / "1.png")
    return ["images[0]", "1.png"]


@pytest.mark.parametrize("defect", [missing, truncated, resized, turned, twice])
def test_images_that_are_not_what_is_annotated_are_named(tmp_path, defect):
    names = [tmp_path / "annotations" / "instances_train.json", "images[1]", *defect(tmp_path)]
    with refuses(DataError, *names, "--data.on_error skip"):
        read_coco(tmp_path, masks=False)


@pytest.mark.parametrize("defect", [missing, truncated, resized, turned])
def test_such_images_and_their_objects_can_be_left_out_and_are_counted(tmp_path, defect):
    file, names = tmp_path / "annotations" / "instances_train.json", defect(tmp_path)
    found = read_coco(tmp_path, masks=False, on_error="skip")
    assert [found.splits["train"].id(i) for i in range(len(found.splits["train"]))] == ["images/1.png"]
    assert len(only(found)) == 1
    assert_named(found.skipped[0], file, "images[1]", *names)
    assert len(found.skipped) == len(found.dropped) == 1
    assert_named(found.dropped[0], file, "annotations[1]")
    assert_named(found.report()[0], 1, 2)


def test_an_image_turned_by_exif_is_read_upright_if_it_is_annotated_upright(tmp_path):
    make_image(tmp_path / "images" / "1.png", (WIDTH, HEIGHT), orientation=6)
    coco(tmp_path, [annotation()], [image(1)])
    source = read_coco(tmp_path, masks=False).splits["train"]
    assert source.shape(0) == source.image(0).shape[:2] == (HEIGHT, WIDTH)


def test_an_image_whose_size_is_not_annotated_is_measured(tmp_path):
    make_image(tmp_path / "images" / "1.png", (30, 20))
    coco(tmp_path, [annotation()], [{"id": 1, "file_name": "1.png"}])
    source = read_coco(tmp_path, masks=False).splits["train"]
    assert source.shape(0) == (30, 20)
    assert source.objects(0).boxes.tolist() == [[10, 5, 20, 15]]


def test_objects_of_images_that_are_not_listed_are_refused_or_counted(tmp_path):
    file = coco(tmp_path, [annotation(1), annotation(9)], [image(1)])
    make_image(tmp_path / "images" / "1.png")
    with refuses(DataError, file, "annotations[1]", "image_id 9", "--data.on_error skip"):
        read_coco(tmp_path, masks=False)
    found = read_coco(tmp_path, masks=False, on_error="skip")
    assert len(only(found)) == len(found.dropped) == 1


# Refused files --------------------------------------------------------------------------------------------------------


def test_unknown_categories_are_refused_whatever_on_error_says(tmp_path):
    file = coco(tmp_path, [annotation(), annotation(category=8)])
    with refuses(DataError, file, "annotations[1]", "category_id 8"):
        read_coco(tmp_path, masks=False, on_error="skip")


def test_duplicate_image_ids_are_refused(tmp_path):
    file = coco(tmp_path, [annotation()], [image(1), image(1, file_name="2.png")])
    with refuses(DataError, file, "images[0]", "images[1]", "2.png", "id 1"):
        read_coco(tmp_path, masks=False)


@pytest.mark.parametrize(
    ("categories", "names"),
    [
        ([{"id": 7, "name": "cat"}, {"id": 7, "name": "dog"}], ["2 categories", "id 7"]),
        ([{"id": 7, "name": "cat"}, {"id": 8, "name": "cat"}], ["2 categories", "name cat"]),
        ([{"id": "7b", "name": "cat"}], ["categories[0]", "id '7b'"]),
        ([{"id": 7}], ["categories[0]", "'name'"]),
    ],
)
def test_categories_that_are_ambiguous_are_refused(tmp_path, categories, names):
    file = coco(tmp_path, [annotation()], categories=categories)
    with refuses(DataError, file, *names):
        read_coco(tmp_path, masks=False)


def test_splits_with_other_categories_are_refused(tmp_path):
    first = coco(tmp_path, [annotation(1)])
    second = coco(tmp_path, [annotation(2)], split="val", categories=[{"id": 7, "name": "horse"}])
    with refuses(DataError, first, second, "category 7", "'horse'", "'cat'"):
        read_coco(tmp_path, masks=False)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"images": [], "annotations": []}, ["categories", "['images', 'annotations']"]),
        ({"annotations": {}, "info": 1}, ["images", "annotations", "categories", "['annotations', 'info']"]),
        (
            [{"image_id": 1, "category_id": 1, "score": 0.5, "annotations": 0}],
            ["list", "images", "annotations", "categories"],
        ),
        ({"images": [{"id": 1}], "annotations": [], "categories": []}, ["images[0]", "'file_name'"]),
    ],
)
def test_json_that_is_not_cocos_is_refused_with_what_is_missing(tmp_path, content, names):
    (tmp_path / "train.json").write_text(json.dumps(content))
    with refuses(DataError, tmp_path / "train.json", *names):
        read_coco(tmp_path, masks=False)


JUNK = (None, -1, 2, 1e300, float("nan"), "", "1", [], [[1]], {}, {"image_id": 1})


def parts(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths of all values in a json."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from parts(part, (*path, key))


def test_whatever_stands_in_the_place_of_a_value_is_refused_or_counted(tmp_path):
    entries = [annotation(segmentation=[TRIANGLE], area=9), annotation(2, 3, segmentation=plain(), iscrowd=1)]
    file = coco(tmp_path, entries)
    whole, refused = file.read_text(), 0
    places = [path for path in parts(json.loads(whole)) if path]
    for path in places:
        for junk in JUNK:
            content = json.loads(whole)
            *way, last = path
            reduce(getitem, way, content)[last] = junk
            file.write_text(json.dumps(content))
            try:
                found = read_coco(tmp_path, masks=True, on_error="skip")
            except DataError:
                refused += 1
            else:
                assert len(found.splits["train"].boxes) + len(found.dropped) == len(content["annotations"])
                assert np.isfinite(found.splits["train"].area).all()
    assert 100 < refused < len(places) * len(JUNK) / 2


@pytest.mark.parametrize(
    ("entry", "name"),
    [({"image_id": 1, "caption": "a cat"}, "'category_id'"), (annotation(box=[1, 1, 0, 0]), [1, 1, 0, 0])],
    ids=["captions", "no area"],
)
def test_annotations_of_no_object_at_all_are_refused(tmp_path, entry, name):
    file = coco(tmp_path, [entry])
    with refuses(DataError, file, "annotations[0]", name):
        read_coco(tmp_path, masks=False)


def test_json_that_is_cut_short_is_refused(tmp_path):
    file = coco(tmp_path, [annotation()])
    file.write_text(file.read_text()[:-40])
    with refuses(DataError, file):
        read_coco(tmp_path, masks=False)


def test_two_json_for_one_split_are_refused(tmp_path):
    file = coco(tmp_path, [annotation()])
    other = file.with_name("instances_train_old.json")
    other.write_text(file.read_text())
    with refuses(DataError, file, other):
        read_coco(tmp_path, masks=False)


def test_an_image_with_two_ids_is_refused(tmp_path):
    coco(tmp_path, [annotation(1)])
    file = coco(tmp_path, [annotation(5)], [image(5, file_name="1.png")], split="val")
    with refuses(DataError, file, "images[0]", "1.png", "id 5", 1):
        read_coco(tmp_path, masks=False)


# Real data ------------------------------------------------------------------------------------------------------------


def test_a_hundred_images_of_coco_are_as_pycocotools_reads_them(data_root):
    root = data_root / "coco100_instances"
    if not root.is_dir():
        pytest.skip("no coco100_instances in the real data")
    found = read_coco(root, masks=True)
    assert found.dropped == found.skipped == []
    assert {split: (len(s), len(s.boxes)) for split, s in found.splits.items()} == {
        "train": (80, 640),
        "val": (20, 107),
    }
    reference = COCO(str(root / "annotations" / "instances_train.json"))
    assert found.category_ids == sorted(reference.getCatIds())
    source = found.splits["train"]
    for i in range(len(source)):
        known = reference.loadAnns(reference.getAnnIds(found.image_ids[source.id(i)]))
        objects = source.objects(i)
        assert [found.category_ids[label] for label in objects.labels] == [a["category_id"] for a in known]
        assert objects.crowd.tolist() == [bool(a["iscrowd"]) for a in known]
        assert objects.rles == [reference.annToRLE(a) for a in known]
        np.testing.assert_allclose(objects.area, [a["area"] for a in known], rtol=1e-6)
        corners = np.array([a["bbox"] for a in known]).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        np.testing.assert_allclose(objects.boxes, corners, atol=0.02)  # some reach out by a hundredth


def test_the_images_of_coco_without_annotation_are_negatives(data_root):
    root = data_root / "coco100_instances"
    if not root.is_dir():
        pytest.skip("no coco100_instances in the real data")
    sources = read_coco(root, masks=False).splits.values()
    empty = {s.id(i) for s in sources for i in range(len(s)) if not len(s.objects(i))}
    assert empty == {"images/000000000250.jpg", "images/000000000508.jpg"}
