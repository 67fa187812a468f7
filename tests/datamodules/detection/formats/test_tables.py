"""CSV reader: results, annotations left out and counted, refused files."""

import unicodedata

import pytest

from datamodules.detection.formats import detect, read_csv
from modules.contracts import DataError
from modules.contracts.image_ids import image_number
from tests.helpers.annotated import CSV_HEADER, HEIGHT, WIDTH, make_image, only, table
from tests.helpers.errors import assert_named, refuses


def test_lines_become_objects_of_their_images(tmp_path):
    lines = ("images/b.png,1,2,3,4,dog", "images/a.png,10,5,30,15,dog", "images/b.png,0,0,60,40,cat")
    table(tmp_path, *lines, images=("a.png", "b.png"))
    found = read_csv(tmp_path)
    assert (found.classes, found.category_ids) == (["cat", "dog"], [1, 2])
    source = found.splits["train"]
    assert [source.id(i) for i in range(2)] == ["images/b.png", "images/a.png"]
    assert source.objects(0).boxes.tolist() == [[1, 2, 3, 4], [0, 0, 60, 40]]
    assert source.objects(0).labels.tolist() == [1, 0]
    assert source.objects(1).boxes.tolist() == [[10, 5, 30, 15]]
    assert found.image_ids == {name: image_number(name) for name in ("images/b.png", "images/a.png")}
    assert found.report() == []


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", "a.png,60,40,cat,10,5,30,15"),
        ("Image_ID;Label;x1;y1;x2;y2", "a;cat;10;5;30;15"),
        ("ymax\txmax\tymin\txmin\tclass_name\timage path", "15\t30\t5\t10\tcat\timages/a.png"),
        ("\ufefffile,left,top,right,bottom,category", "images/a.png,10,5,30,15,cat"),
    ],
)
def test_headers_that_people_use_are_understood(tmp_path, header, line):
    table(tmp_path, line, header=header)
    found = read_csv(tmp_path)
    assert (found.classes, only(found).boxes.tolist()) == (["cat"], [[10, 5, 30, 15]])


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_other_encodings_and_separators_are_read(tmp_path, encoding, separator):
    make_image(tmp_path / "images" / "Prüfling 1.png")
    lines = ["filename,class,xmin,ymin,xmax,ymax", "Prüfling 1.png,Tür,10,5,30,15", ""]
    (tmp_path / "train.csv").write_bytes("\r\n".join(lines).replace(",", separator).encode(encoding))
    found = read_csv(tmp_path)
    assert (found.classes, only(found).boxes.tolist()) == (["Tür"], [[10, 5, 30, 15]])


def test_a_class_spelled_in_two_unicode_forms_is_one(tmp_path):
    names = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    table(tmp_path, *(f"a.png,10,5,30,15,{name}" for name in names))
    assert read_csv(tmp_path).classes == names[:1]
    assert read_csv(tmp_path, classes=names[1:]).classes == names[:1]


def test_a_decimal_comma_is_read(tmp_path):
    table(tmp_path, "a.png;10,5;5;30,25;15;cat", header=CSV_HEADER.replace(",", ";"))
    assert only(read_csv(tmp_path)).boxes.tolist() == [[10.5, 5, 30.25, 15]]


def test_a_csv_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "train.csv"
    file.write_bytes(b"\x81\x8d,xmin")
    with refuses(DataError, file, "UTF-8"):
        detect(tmp_path)


def test_open_images_has_fractions_groups_and_codes(tmp_path):
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction"
    lines = ("a,xclick,/m/01,1,0.25,0.5,0.125,0.5,0,0,0,0", "a,xclick,/m/02,1,0,1,0,1,0,0,1,0")
    table(tmp_path, *lines, header=header, name="train-annotations-bbox.csv")
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/01,Cat\n/m/02,Dog\n")
    found = read_csv(tmp_path)
    assert found.classes == ["Cat", "Dog"]
    assert only(found).boxes.tolist() == [[15, 5, 30, 20], [0, 0, WIDTH, HEIGHT]]
    assert only(found).crowd.tolist() == [False, True]


def test_splits_come_from_names_of_files(tmp_path):
    for split, name in (("train", "train_labels.csv"), ("valid", "valid/_annotations.csv"), ("test", "test.csv")):
        table(tmp_path, f"{split}.png,10,5,30,15,cat", name=name, images=(f"{split}.png",))
    found = read_csv(tmp_path)
    assert [found.splits[split].id(0) for split in ("train", "val", "test")] == [
        "images/train.png",
        "images/valid.png",
        "images/test.png",
    ]


def test_splits_come_from_a_column(tmp_path):
    lines = ("a.png,10,5,30,15,cat,Validation", "b.png,1,2,3,4,cat,TRAIN")
    table(tmp_path, *lines, header=f"{CSV_HEADER},split", name="all.csv", images=("a.png", "b.png"))
    found = read_csv(tmp_path)
    assert {split: source.id(0) for split, source in found.splits.items()} == {
        "train": "images/b.png",
        "val": "images/a.png",
    }


def test_a_line_without_box_is_a_negative(tmp_path):
    table(tmp_path, "a.png,,,,,", "b.png,1,2,3,4,cat", images=("a.png", "b.png"))
    source = read_csv(tmp_path).splits["train"]
    assert [len(source.objects(i)) for i in range(2)] == [0, 1]


def test_regions_marked_as_crowds_are_crowds(tmp_path):
    table(tmp_path, "a.png,10,5,30,15,cat,1", "a.png,10,5,30,15,cat,0", header=f"{CSV_HEADER},iscrowd")
    assert only(read_csv(tmp_path)).crowd.tolist() == [True, False]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("a.png,10,5,10,15,cat", "[10, 5, 10, 15]"),
        ("a.png,30,5,10,15,cat", "[30, 5, 10, 15]"),
        ("a.png,70,5,80,15,cat", "[70, 5, 80, 15]"),
        ("a.png,ten,5,30,15,cat", "[ten, 5, 30, 15]"),
        ("a.png,10,5,30,,cat", "[10, 5, 30, ]"),
        ("a.png,10,5,30,15,", "class"),
    ],
)
def test_lines_that_are_no_object_are_left_out_by_file_and_line(tmp_path, line, name):
    file = table(tmp_path, "a.png,1,2,3,4,dog", line)
    found = read_csv(tmp_path)
    (dropped,) = found.dropped
    assert_named(dropped, file, "line 3", name)
    assert len(only(found)) == 1


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("path,xmin,ymin,xmax,class", ["ymax", "y2", "bottom"]),
        ("xmin,ymin,xmax,ymax", ["path", "filename", "filepath", "file", "class", "label", "labelname"]),
    ],
)
def test_columns_that_are_missing_are_named(tmp_path, header, names):
    file = table(tmp_path, "1,2,3,4,5", header=header)
    with refuses(DataError, file, *names):
        read_csv(tmp_path)


def test_images_that_are_missing_are_refused_or_counted(tmp_path):
    file = table(tmp_path, "a.png,1,2,3,4,cat", "gone.png,1,2,3,4,cat")
    with refuses(DataError, file, "line 3", "gone.png", "--data.on_error skip"):
        read_csv(tmp_path)
    found = read_csv(tmp_path, on_error="skip")
    (dropped,), (skipped,) = found.dropped, found.skipped
    assert_named(dropped, file, "line 3")
    assert_named(skipped, file, "line 3", "gone.png")


@pytest.mark.parametrize(
    ("line", "more", "names"),
    [
        ("a.png,1,2", "", [3]),
        ("a.png,1,2,3,4,dog,dev", ",split", ["'dev'", "train", "val", "test"]),
        ("a.png,1,2,3,4,dog,40,60", ",width,height", ["a.png", "60 x 40", "40 x 60", "--data.on_error skip"]),
    ],
    ids=["cut short", "unknown split", "another size"],
)
def test_lines_that_cannot_be_used_are_refused_by_file_and_line(tmp_path, line, more, names):
    file = table(tmp_path, line, header=CSV_HEADER + more, name="all.csv")
    with refuses(DataError, file, "line 2", *names):
        read_csv(tmp_path)


def test_classes_can_be_given_and_others_are_refused(tmp_path):
    file = table(tmp_path, "a.png,1,2,3,4,dog")
    assert read_csv(tmp_path, classes=["zebra", "dog"]).splits["train"].objects(0).labels.tolist() == [1]
    with refuses(DataError, file, "line 2", "'dog'", "data.classes"):
        read_csv(tmp_path, classes=["zebra"])


def test_masks_are_refused(tmp_path):
    table(tmp_path, "a.png,1,2,3,4,dog")
    with refuses(DataError, tmp_path, "csv"):
        read_csv(tmp_path, masks=True)
