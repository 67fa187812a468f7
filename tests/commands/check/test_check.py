"""`check`: a page of everything that is odd about data, and the exit code of what makes training wrong."""

import csv
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from commands.check.command import check
from modules.contracts import ConfigError, DataError
from tests.helpers.annotated import HEIGHT, WIDTH, annotation, coco
from tests.helpers.errors import assert_named, refuses
from tests.helpers.filmed import film
from tests.helpers.images import save


def scene(path: Path, seed: int, side: int = 48) -> Path:
    """An image of colored tiles."""
    tiles = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(tiles).resize((side, side), Image.Resampling.BILINEAR).save(path)
    return path


def folder(root: Path, train: int = 6) -> Path:
    """Two classes of different images, in train and test."""
    for number, split in enumerate(("train", "test")):
        for label, name in enumerate(("cat", "dog")):
            for i in range(train if split == "train" else 2):
                scene(root / split / name / f"{i}.png", 1000 * number + 100 * label + i)
    return root


def images(root: Path, *more: str) -> list[str]:
    return ["--data", "ImageFolder", "--data.root", str(root), "--data.batch_size", "2", "--data.val_split", "0", *more]


@pytest.fixture
def page(tmp_path, capsys):
    """Runs `check`; gives the text of the page, and the sentence of what is wrong, empty if nothing is."""

    def run(*words: str) -> tuple[str, str]:
        out = tmp_path / "run"
        shutil.rmtree(out, ignore_errors=True)
        said = ""
        try:
            check([*words, "--run_dir", str(out)])
        except DataError as error:
            said = str(error)
        return capsys.readouterr().out, said

    return run


def test_a_clean_folder_has_nothing_wrong(tmp_path, page):
    text, wrong = page(*images(folder(tmp_path / "pets")))
    assert wrong == "" and "WRONG" not in text
    assert_named(text, "train", "test", "cat", "dog", 12, 4)


def test_leaks_copies_and_labels_that_contradict_are_named_with_both_files(tmp_path, page):
    root = folder(tmp_path / "pets")
    shutil.copy(root / "test/dog/1.png", root / "train/dog/leak.png")
    shutil.copy(root / "train/cat/0.png", root / "train/cat/again.png")
    shutil.copy(root / "train/cat/2.png", root / "train/dog/other.png")
    text, wrong = page(*images(root))
    assert_named(wrong, "leak", "test", "train")
    for names in (("test/dog/1.png", "train/dog/leak.png"), ("train/cat/0.png", "train/cat/again.png")):
        assert_named(text, *names)
    assert_named(text, "train/cat/2.png (cat)", "train/dog/other.png (dog)")
    with (tmp_path / "run" / "duplicates.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "identical"]
    pairs = {(row["file"], row["other_file"]) for row in rows}
    assert ("test/dog/1.png", "train/dog/leak.png") in pairs and len(rows) == 3


def test_images_that_look_alike_are_notes(tmp_path, page):
    root = folder(tmp_path / "pets")
    image = Image.open(root / "test/cat/0.png")
    ImageEnhance.Brightness(image.resize((40, 40))).enhance(0.9).save(root / "train/cat/near.jpg")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "train/cat/turned.png")
    text, wrong = page(*images(root))
    assert wrong == ""
    assert_named(text, "test/cat/0.png", "train/cat/near.jpg", "mirrored", "train/cat/turned.png")


def test_broken_and_odd_files_are_named(tmp_path, page):
    root = folder(tmp_path / "pets")
    data = (root / "train/cat/1.png").read_bytes()
    (root / "train/cat/1.png").write_bytes(data[:60])
    scene(root / "train/dog/turned.jpg", 7).write_bytes((root / "train/dog/turned.jpg").read_bytes())
    turned = Image.open(root / "train/dog/turned.jpg")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(root / "train/dog/turned.jpg", exif=exif)
    Image.new("RGB", (200, 20), (90, 20, 30)).save(root / "train/dog/long.png")
    text, wrong = page(*images(root))
    assert_named(wrong, "1.png", "--data.on_error skip")
    assert_named(text, "turned.jpg", "EXIF", "long.png (200 x 20)", "of one color")
    text, wrong = page(*images(root, "--data.on_error", "skip"))
    assert wrong == "" and "1.png" in text


def test_the_report_is_one_file_of_html_with_a_text_for_each_figure(tmp_path, page):
    root = folder(tmp_path / "pets")
    scene(root / "train/cat/<b>&.png", 77, side=64)
    shutil.copy(root / "train/cat/0.png", root / "test/cat/copy.png")
    text, _ = page(*images(root))
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:|#)", html) and "http" not in html and "<script" not in html
    figures = re.findall(r"<img [^>]*>", html)
    assert len(figures) == 3 and all(re.search(r'alt="[^"]{20,}"', figure) for figure in figures)
    assert '<html lang="en">' in html and "<b>&" not in html
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("written"))
    assert (tmp_path / "run" / "report.txt").read_text(encoding="utf-8") in text


def test_masks_with_unknown_values_are_all_named(tmp_path, page):
    for i in range(4):
        scene(tmp_path / "images/train" / f"{i}.png", i)
        mask = np.zeros((48, 48), np.uint8)
        mask[:20] = 1 if i < 2 else 9
        save(mask, tmp_path / "masks/train" / f"{i}.png")
    words = ["--data", "SegmentationFolder", "--data.root", str(tmp_path), "--data.classes", "[sky,sea]"]
    text, wrong = page(*words, "--data.batch_size", "1")
    assert "masks/train/2.png" in wrong
    assert_named(" ".join(text.split()), "2.png (960 pixels of 9)", "3.png (960 pixels of 9)")


def test_boxes_that_are_left_out_tiny_or_drawn_twice_are_named(tmp_path, page):
    boxes = [(10, 5, 20, 10), (10, 5, 20, 10), (30, 10, 1, 2), (50, 30, -4, 5), (WIDTH + 5, 5, 10, 10)]
    things = [annotation(box=box) | {"id": number, "area": 9, "iscrowd": 0} for number, box in enumerate(boxes)]
    coco(tmp_path, [*things, annotation(image=2) | {"id": 9, "area": 9, "iscrowd": 0}])
    words = ["--data", "DetectionFolder", "--data.root", str(tmp_path), "--data.batch_size", "1"]
    text, wrong = page(*words, "--data.val_split", "0", "--data.image_size", f"[{HEIGHT},{WIDTH}]")
    assert wrong == ""
    flat = " ".join(text.split())
    assert_named(flat, "drawn twice in one image", "[10, 5, 30, 15]", "below 4 pixels", "[30, 10, 31, 12]")
    assert_named(flat, "2 annotations left out", "is reversed", "lies outside the image")


def test_keypoints_are_counted_and_those_outside_of_their_box_named(tmp_path, page):
    points = [12, 6, 2, 50, 30, 1, 0, 0, 0]
    things = [annotation(image=n, keypoints=points, id=n, area=9, iscrowd=0) for n in (1, 2)]
    categories = [{"id": 7, "name": "cat", "keypoints": ["nose", "left_ear", "right_ear"]}]
    coco(tmp_path, things, categories=categories)
    words = ["--data", "DetectionFolder", "--data.root", str(tmp_path), "--data.keypoints", "true"]
    text, wrong = page(*words, "--data.val_split", "0", "--data.batch_size", "1")
    assert "keypoint" not in wrong
    assert_named(" ".join(text.split()), "2 objects with keypoints outside of their boxes", "images/1.png: left_ear")


def test_sentences_that_are_empty_copied_or_leaked_are_named(tmp_path, page):
    lines = [(f"a red dog number {i} runs", f"ein roter Hund Nummer {i} rennt") for i in range(30)]
    train = [*lines, ("", "nichts"), ("Berlin", "Berlin")]
    for name, pairs in (("train", train), ("test", [lines[3], *((f"see {i}", f"siehe {i}") for i in range(5))])):
        for side, suffix in enumerate(("en", "de")):
            (tmp_path / f"{name}.{suffix}").write_text("\n".join(pair[side] for pair in pairs) + "\n")
    words = [f"--data.{key} {tmp_path / name}" for key, name in (("source", "train.en"), ("target", "train.de"))]
    words += [f"--data.test_{key} {tmp_path / name}" for key, name in (("source", "test.en"), ("target", "test.de"))]
    text, wrong = page("--data", "ParallelText", *" ".join(words).split(), "--data.val_split", "0")
    assert_named(wrong, "leak", "test", "train")
    assert_named(" ".join(text.split()), "test.en:1 = train.en:4", "'Berlin'", "is empty")


def test_sentences_of_two_splits_that_read_alike_are_notes(tmp_path, page):
    one, two = ("a red dog and a cat run over the bridge", "ein Hund und eine Katze laufen über die Brücke")
    for side, text, copy in (("en", one, one.upper() + "!"), ("de", two, f"{two} ...")):
        rest = [f"{word} {side} {i}" for i, word in enumerate("to be or not to be that is".split())]
        (tmp_path / f"train.{side}").write_text("\n".join([text, *rest]) + "\n")
        (tmp_path / f"test.{side}").write_text(f"{copy}\nall the world is a stage {side}\n")
    words = [f"--data.{key} {tmp_path / name}" for key, name in (("source", "train.en"), ("target", "train.de"))]
    words += [f"--data.test_{key} {tmp_path / name}" for key, name in (("source", "test.en"), ("target", "test.de"))]
    text, wrong = page("--data", "ParallelText", *" ".join(words).split(), "--data.val_split", "0")
    assert wrong == ""
    assert_named(" ".join(text.split()), "1 pair of lines that read alike", "test.en:1 ~ train.en:1 (1.000)")


def test_videos_that_look_alike_are_notes_and_drawn(tmp_path, page):
    for number, split in enumerate(("train", "test")):
        for k, name in enumerate("ab"):
            (tmp_path / "clips" / split / name).mkdir(parents=True)
            film(tmp_path / "clips" / split / name / "0.mp4", seed=10 * number + k)
    film(tmp_path / "clips/train/b/copy.mkv", seed=10, options={"crf": "18"})
    words = ["--data", "VideoFolder", "--data.root", str(tmp_path / "clips"), "--data.batch_size", "2"]
    text, wrong = page(*words, "--data.val_split", "0")
    assert wrong == ""
    assert_named(" ".join(text.split()), "1 pair of videos that look alike", "test/a/0.mp4 ~ train/b/copy.mkv")
    html = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'alt="videos that look alike: test/a/0.mp4' in html


def test_pipes_and_names_in_no_encoding_are_named(tmp_path, page):
    root = folder(tmp_path / "pets")
    os.mkfifo(root / "train/cat/pipe.png")
    shutil.copy(root / "test/dog/1.png", os.fsencode(root / "train/dog") + b"/\xff.png")
    text, wrong = page(*images(root, "--data.on_error", "skip"))
    assert_named(wrong, "leak")
    assert_named(" ".join(text.split()), "pipe.png", "train/dog/\\udcff.png")
    with (tmp_path / "run" / "duplicates.csv").open(encoding="utf-8", errors="surrogateescape") as file:
        assert "train/dog/\udcff.png" in {row["other_file"] for row in csv.DictReader(file)}


def test_built_in_data_and_a_yaml_are_checked_too(tmp_path, page):
    text, wrong = page("--config", "tasks/classification.yaml", *"--data.train 40 --data.val 8 --data.test 8".split())
    assert_named(wrong or text, "data.batch_size" if wrong else "nothing wrong")
    assert_named(text, 40, 8)


def test_mistakes_are_refused_with_the_setting(tmp_path):
    root = folder(tmp_path / "pets", 2)
    for words, names in (
        ([], ("--data", "--config")),
        ([*images(root), "--model.backbone", "resnet18"], ("--model.backbone",)),
        (["--data", "ImageFoldr"], ("ImageFoldr", "ImageFolder")),
        ([*images(root), "--data.rot", "x"], ("--data.rot",)),
        ([*images(root), "--fix", str(root / "clean")], ("--fix", "data.root")),
        ([*images(root), "--fix", str(tmp_path)], ("--fix",)),
        ([*images(root), "--fix", ""], ("--fix",)),
        ([*images(root), "--fix", str(tmp_path / "run")], ("--fix", "run directory")),
    ):
        with refuses(ConfigError, *names):
            check([*words, "--run_dir", str(tmp_path / "run")])
    with refuses(DataError, str(tmp_path / "none")):
        check([*images(tmp_path / "none"), "--run_dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_annotations_that_fit_refuses_are_named_and_the_rest_is_checked(tmp_path, page):
    coco(tmp_path, [annotation(image=i) | {"id": i, "area": 9, "iscrowd": 0} for i in (1, 2, 3)])
    (tmp_path / "images/2.png").write_bytes(b"no image")
    words = [
        "--data",
        "DetectionFolder",
        "--data.root",
        str(tmp_path),
        "--data.batch_size",
        "1",
        "--data.val_split",
        "0",
    ]
    text, wrong = page(*words)
    assert_named(wrong, "2.png", "--data.on_error skip")
    assert_named(text, "without objects", "1 annotation left out")
