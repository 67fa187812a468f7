"""Pascal VOC xml reader: results, annotations left out and counted, refused files."""

from pathlib import Path

import pytest

from datamodules.detection.formats import read_voc
from modules.contracts import DataError
from modules.contracts.image_ids import image_number
from tests.helpers.annotated import HEIGHT, WIDTH, make_image, only, thing, xml
from tests.helpers.errors import assert_named, line_naming, refuses


@pytest.fixture
def voc(tmp_path):
    """Write an image and its xml in VOC's own folders."""

    def make(name: str, *things: str, split: str = "train", **settings) -> Path:
        make_image(tmp_path / "JPEGImages" / f"{name}.png")
        listed = tmp_path / "ImageSets" / "Main" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        with listed.open("a") as file:
            file.write(f"{name}\n")
        return xml(tmp_path / "Annotations" / f"{name}.xml", *things, **settings)

    return make


def test_objects_come_with_names_in_order_of_the_alphabet(tmp_path, voc):
    voc("a", thing("dog"), thing("cat", (0, 0, 60, 40)))
    found = read_voc(tmp_path)
    assert (found.classes, found.category_ids) == (["cat", "dog"], [1, 2])
    objects = only(found)
    assert objects.boxes.tolist() == [[10, 5, 30, 15], [0, 0, 60, 40]]
    assert (objects.labels.tolist(), objects.area.tolist(), objects.rles) == ([1, 0], [200, 2400], None)
    assert found.image_ids == {"JPEGImages/a.png": image_number("JPEGImages/a.png")}
    assert found.report() == []


def test_listed_names_may_hold_blanks_and_end_in_a_number(tmp_path, voc):
    for name in ("IMG 002 (1)", "a 1", "b"):
        voc(name, thing())
    with (tmp_path / "ImageSets" / "Main" / "val.txt").open("w") as file:
        file.write("IMG 002 (1)  1\nA 1\nb -1\n")
    found = read_voc(tmp_path)
    expected = [f"JPEGImages/{name}.png" for name in ("IMG 002 (1)", "a 1", "b")]
    assert [[source.id(i) for i in range(3)] for source in found.splits.values()] == [expected] * 2


def test_splits_are_those_of_the_lists_and_share_their_classes(tmp_path, voc):
    for name, split in (("a", "train"), ("b", "val"), ("c", "test")):
        voc(name, thing(name), split=split)
    found = read_voc(tmp_path)
    assert found.classes == ["a", "b", "c"]
    assert [only(found, split).labels.tolist() for split in ("train", "val", "test")] == [[0], [1], [2]]
    assert found.image_ids == {name: image_number(name) for name in (f"JPEGImages/{stem}.png" for stem in "abc")}
    (note,) = found.notes
    assert_named(note, "train", 2, 3, "b", "c")


def test_images_without_objects_are_negatives(tmp_path, voc):
    voc("a")
    voc("b", thing())
    source = read_voc(tmp_path).splits["train"]
    assert [len(source.objects(i)) for i in range(2)] == [0, 1]


def test_the_challenges_own_boxes_count_from_one_and_include_their_last_pixel(tmp_path, voc):
    source = "<source><database>The VOC2007 Database</database><annotation>PASCAL VOC2007</annotation></source>"
    voc("a", thing(box=(1, 1, WIDTH, HEIGHT)), thing(box=(11, 6, 30, 15)), more=source)
    assert only(read_voc(tmp_path)).boxes.tolist() == [[0, 0, WIDTH, HEIGHT], [10, 5, 30, 15]]


def test_difficult_objects_are_crowds_unless_kept(tmp_path, voc):
    voc("a", thing(more="<difficult>1</difficult>"), thing(more="<difficult>0</difficult>"), thing())
    assert only(read_voc(tmp_path)).crowd.tolist() == [True, False, False]
    assert only(read_voc(tmp_path, difficult="keep")).crowd.tolist() == [False, False, False]


def test_classes_can_be_given_in_their_order(tmp_path, voc):
    voc("a", thing("dog"))
    found = read_voc(tmp_path, classes=["zebra", "dog"])
    assert (found.classes, only(found).labels.tolist()) == (["zebra", "dog"], [1])


def test_a_class_that_was_not_given_is_refused_with_a_hint(tmp_path, voc):
    file = voc("a", thing(), thing("dgo"))
    with refuses(DataError, file, "object[1]", "'dgo'", "data.classes", "'dog'"):
        read_voc(tmp_path, classes=["cat", "dog"])


@pytest.mark.parametrize(
    ("xmls", "images"),
    [
        ("Annotations", "JPEGImages"),
        ("Annotations", "images"),
        ("train", "train"),
        ("train/Annotations", "train/JPEGImages"),
        ("annotations/train", "images/train"),
        (".", "."),
    ],
)
def test_layouts_without_lists_are_found(tmp_path, xmls, images):
    xml(tmp_path / xmls / "a.xml", thing())
    make_image(tmp_path / images / "a.png")
    found = read_voc(tmp_path)
    assert found.splits["train"].path(0) == tmp_path / images / "a.png"


def test_the_name_in_the_xml_is_used_where_the_files_have_others(tmp_path):
    xml(tmp_path / "Annotations" / "1.xml", thing(), more="<filename>a.png</filename>")
    make_image(tmp_path / "JPEGImages" / "a.png")
    assert read_voc(tmp_path).splits["train"].id(0) == "JPEGImages/a.png"


def test_a_size_of_zero_is_no_size(tmp_path, voc):
    voc("a", thing(), size=(0, 0))
    assert read_voc(tmp_path).splits["train"].shape(0) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (thing(box=(10, 5, 10, 15)), "[10, 5, 10, 15]"),
        (thing(box=(30, 15, 10, 5)), "[30, 15, 10, 5]"),
        (thing(box=(61, 5, 70, 15)), "[61, 5, 70, 15]"),
        (thing(box=("ten", 5, 30, 15)), "[ten, 5, 30, 15]"),
        (thing(box=(10, 5)), "[10, 5, None, None]"),
        (thing(""), "name"),
    ],
)
def test_objects_that_are_none_are_left_out_by_file_and_index(tmp_path, voc, bad, name):
    file = voc("a", thing(), bad)
    found = read_voc(tmp_path)
    (dropped,) = found.dropped
    assert_named(dropped, file, "object[1]", name)
    assert len(only(found)) == 1


def test_sides_where_corners_are_meant_are_suspected(tmp_path, voc):
    voc("a", *(thing(box=(x, x % 25, 9, 8)) for x in range(2, 50)))
    assert_named(read_voc(tmp_path).notes[0], "xyxy", "xywh", "0 %")


def test_such_a_suspicion_also_explains_why_no_object_is_left(tmp_path, voc):
    file = voc("a", *(thing(box=(x, x % 25, 9, 8)) for x in range(10, 50)))
    with refuses(DataError, file, "object[0]", 40, "[10, 10, 9, 8]", "xyxy", "xywh", "0 %"):
        read_voc(tmp_path)


def test_a_listed_image_without_xml_is_refused_or_counted(tmp_path, voc):
    voc("a", thing())
    file = voc("b")
    file.unlink()
    with refuses(DataError, file, "--data.on_error skip"):
        read_voc(tmp_path)
    found = read_voc(tmp_path, on_error="skip")
    assert len(found.splits["train"]) == len(found.skipped) == 1


def test_an_xml_without_image_is_refused_or_counted(tmp_path, voc):
    voc("a", thing())
    file = voc("b", thing())
    (tmp_path / "JPEGImages" / "b.png").unlink()
    with refuses(DataError, file, "--data.on_error skip"):
        read_voc(tmp_path)
    found = read_voc(tmp_path, on_error="skip")
    (dropped,) = found.dropped
    assert_named(dropped, file, "object[0]")


def test_another_size_than_that_of_the_image_is_refused(tmp_path, voc):
    file = voc("a", thing(), size=(HEIGHT, WIDTH))
    with refuses(DataError, file, "60 x 40", "40 x 60", "--data.on_error skip"):
        read_voc(tmp_path)


def test_xml_that_is_cut_short_is_refused(tmp_path, voc):
    file = voc("a", thing())
    file.write_text(file.read_text()[:50])
    with refuses(DataError, file):
        read_voc(tmp_path)


def test_masks_are_refused(tmp_path, voc):
    voc("a", thing())
    with refuses(DataError, tmp_path, "xml", "json", "id-PNGs"):
        read_voc(tmp_path, masks=True)


def test_blood_cells_are_read_but_for_two_without_area(data_root):
    root = data_root / "bccd_voc"
    if not root.is_dir():
        pytest.skip("no bccd_voc in the real data")
    found = read_voc(root)
    assert found.classes == ["Platelets", "RBC", "WBC"]
    assert {split: len(source) for split, source in found.splits.items()} == {"train": 205, "val": 87, "test": 72}
    assert sum(len(source.boxes) for source in found.splits.values()) == 4888 - 2
    assert len(found.dropped) == 2
    assert line_naming(found.dropped, "BloodImage_00338.xml", "object[12]", "[504, 337, 504, 337]")
    assert line_naming(found.dropped, "BloodImage_00343.xml", "object[3]", "[181, 329, 181, 329]")
    assert_named(found.report()[0], 2, "4,888", "dropped.txt")
