"""Detection of annotation formats; the error of a folder without any names the files that each needs."""

import pytest

from datamodules.detection.formats import detect, read
from modules.contracts import ConfigError, DataError
from tests.helpers.annotated import YOLO_BOX, annotation, coco, labels, make_image, mask, table, thing, xml
from tests.helpers.errors import refuses


def make_coco(root):
    return coco(root, [annotation()])


def make_voc(root):
    make_image(root / "JPEGImages" / "a.png")
    return xml(root / "Annotations" / "a.xml", thing()).parent


def make_yolo(root):
    make_image(root / "images" / "a.png")
    labels(root / "labels" / "a.txt", YOLO_BOX)
    return labels(root / "classes.txt", "cat", "dog")


def make_csv(root):
    return table(root, "a.png,1,2,3,4,cat")


def make_png(root):
    make_image(root / "images" / "a.png")
    return mask(root / "masks" / "a.png").parent


FORMATS = {
    "coco": (make_coco, "COCO json"),
    "voc": (make_voc, "Pascal VOC xml"),
    "yolo": (make_yolo, "YOLO txt"),
    "csv": (make_csv, "csv"),
    "png": (make_png, "id-PNGs"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_found_named_and_read(tmp_path, kind):
    make, title = FORMATS[kind]
    place = make(tmp_path)
    found = detect(tmp_path)
    assert found == (kind, f"found {title} in {place}")
    assert len(read(tmp_path, found.format, masks=False).splits["train"]) == 1


def test_of_several_formats_the_sentence_names_the_others(tmp_path):
    pngs, json = make_png(tmp_path), make_coco(tmp_path)
    found = detect(tmp_path)
    assert found == ("coco", f"found COCO json in {json}; id-PNGs in {pngs} too, read by --data.format png")


def test_where_none_fits_each_says_what_it_needs(tmp_path):
    make_image(tmp_path / "a.png")
    needed = ("annotations/instances_train.json", "Annotations/*.xml", "data.yaml", "xmin", "PedMasks")
    with refuses(DataError, tmp_path, *needed):
        detect(tmp_path)


def test_near_misses_are_named(tmp_path):
    (tmp_path / "train.json").write_text('{"images": []}')
    (tmp_path / "train.csv").write_text("path,x1,y1,x2\n")
    with refuses(DataError, tmp_path / "train.json", "'annotations'", tmp_path / "train.csv", "ymax"):
        detect(tmp_path)


def test_a_format_that_fits_but_cannot_be_used_says_why(tmp_path):
    make_image(tmp_path / "images" / "a.png")
    (tmp_path / "data.yaml").write_text("names: dog\n")
    with refuses(DataError, tmp_path / "data.yaml", "names", "'dog'"):
        detect(tmp_path)


def test_a_broken_file_of_one_format_does_not_hide_another(tmp_path):
    make_voc(tmp_path)
    (tmp_path / "settings.yaml").write_text("names: dog\n")
    (tmp_path / "notes.csv").write_bytes(b"caf\xe9,b\n")
    assert detect(tmp_path).format == "voc"


def test_no_folder_is_refused(tmp_path):
    with refuses(DataError, "data.root", tmp_path / "gone"):
        detect(tmp_path / "gone")


@pytest.mark.parametrize(
    ("kind", "settings", "names"),
    [
        ("coco", {"classes": ["cat"]}, ["data.classes", "coco"]),
        ("yolo", {"classes": ["cat"]}, ["data.classes", "yolo"]),
        ("csv", {"difficult": "keep"}, ["data.difficult", "keep", "csv"]),
    ],
)
def test_settings_of_another_format_are_refused(tmp_path, kind, settings, names):
    FORMATS[kind][0](tmp_path)
    with refuses(ConfigError, *names):
        read(tmp_path, kind, masks=False, **settings)


@pytest.mark.parametrize(
    ("folder", "kind"), [("coco100_instances", "coco"), ("dsb2018_nuclei", "coco"), ("bccd_voc", "voc")]
)
def test_real_data_is_recognized(data_root, folder, kind):
    if not (data_root / folder).is_dir():
        pytest.skip(f"no {folder} in the real data")
    assert detect(data_root / folder).format == kind
