"""`check --fix`: a cleaned copy that `fit` takes, of every layout where that is sound; the original stays."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datamodules
from commands.check.command import check
from modules.contracts import DataError
from tests.helpers import annotated
from tests.helpers.filmed import film
from tests.helpers.images import save


def noise(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    return path


def names(count: int = 5) -> dict[str, list[str]]:
    """Names of images by split; train/1 is a copy of test/0, train/3 of train/2."""
    return {"train": [f"t{i}.png" for i in range(count)], "test": [f"e{i}.png" for i in range(2)]}


def write(root: Path, place: str = "{split}/{name}") -> None:
    """The images of `names`, at `place` below the root."""
    for k, (split, found) in enumerate(names().items()):
        for i, name in enumerate(found):
            noise(root / place.format(split=split, name=name), 10 * k + i)
    for one, two in ((("test", "e0.png"), ("train", "t1.png")), (("train", "t2.png"), ("train", "t3.png"))):
        source, target = (root / place.format(split=split, name=name) for split, name in (one, two))
        shutil.copy(source, target)


def class_folders(root: Path) -> dict:
    write(root, "{split}/cat/{name}")
    return {}


def mask_folders(root: Path) -> dict:
    write(root, "images/{split}/{name}")
    for split, found in names().items():
        for name in found:
            save((np.mgrid[:40, :60][0] > 12).astype(np.uint8), root / "masks" / split / name)
    return {}


def mask_lists(root: Path) -> dict:
    write(root, "photos/{split}_{name}")
    for split, found in names().items():
        for name in found:
            save((np.mgrid[:40, :60][0] > 12).astype(np.uint8), root / "labels" / f"{split}_{name}")
        rows = [f"photos/{split}_{name} labels/{split}_{name}\n" for name in found]
        (root / f"{split}.txt").write_text("".join(rows))
    return {}


def coco(root: Path) -> dict:
    write(root, "images/{name}")
    for split, found in names().items():
        images = [annotated.image(i) | {"file_name": name} for i, name in enumerate(found, 1 + 100 * (split == "test"))]
        things = [annotated.annotation(image=p["id"]) | {"id": p["id"], "area": 9, "iscrowd": 0} for p in images]
        annotated.coco(root, things, images, split)
    return {}


def voc(root: Path) -> dict:
    write(root, "JPEGImages/{name}")
    for split, found in names().items():
        for name in found:
            annotated.xml(root / "Annotations" / f"{name[:-4]}.xml", annotated.thing())
        annotated.labels(root / "ImageSets" / "Main" / f"{split}.txt", *(name[:-4] for name in found))
    return {}


def yolo(root: Path) -> dict:
    write(root, "images/{split}/{name}")
    for split, found in names().items():
        for name in found:
            annotated.labels(root / "labels" / split / f"{name[:-4]}.txt", annotated.YOLO_BOX)
    text = f"path: {root}\ntrain: images/train\ntest: images/test\nnames: [cat, dog]\n"
    (root / "data.yaml").write_text(text)
    return {}


def boxes_csv(root: Path) -> dict:
    write(root, "images/{name}")
    for split, found in names().items():
        rows = (f"{name},10,5,30,15,cat" for name in found)
        (root / f"{split}.csv").write_text("\n".join([annotated.CSV_HEADER, *rows]) + "\n")
    return {}


def id_pngs(root: Path) -> dict:
    write(root, "images/{split}/{name}")
    for split, found in names().items():
        for name in found:
            annotated.mask(root / "masks" / split / name)
    return {}


def caption_table(root: Path) -> dict:
    write(root, "{split}_{name}")
    rows = [f'{split}_{name},"a dog, and {name}",{split}' for split, found in names().items() for name in found]
    (root / "captions.csv").write_text("image,caption,split\n" + "\n".join(rows) + "\n")
    return {"root": "captions.csv"}


def karpathy(root: Path) -> dict:
    write(root, "{split}_{name}")
    images = [
        {"filename": f"{split}_{name}", "split": split, "sentences": [{"raw": f"a dog {name}"}]}
        for split, found in names().items()
        for name in found
    ]
    (root / "dataset.json").write_text(json.dumps({"images": images}))
    return {"file": "dataset.json"}


def flickr8k(root: Path) -> dict:
    write(root, "Images/{name}")
    noise(root / "Images" / "v0.png", 77)
    for part, found in (("train", names()["train"]), ("dev", ["v0.png"]), ("test", names()["test"])):
        (root / f"Flickr_8k.{part}Images.txt").write_text("\n".join(found) + "\n")
    every = [*names()["train"], "v0.png", *names()["test"]]
    (root / "Flickr8k.token.txt").write_text("".join(f"{name}#0\ta dog .\n{name}#1\ta cat .\n" for name in every))
    return {}


def videos(root: Path) -> dict:
    for k, (split, found) in enumerate(names().items()):
        for i, name in enumerate(found):
            film(root / "run" / name.replace(".png", ".mp4"), 4, seed=10 * k + i)
        (root / f"{split}.txt").write_text("".join(f"run/{name.replace('.png', '.mp4')} 0\n" for name in found))
    shutil.copy(root / "run" / "e0.mp4", root / "run" / "t1.mp4")
    shutil.copy(root / "run" / "t2.mp4", root / "run" / "t3.mp4")
    return {}


LAYOUTS = {
    "ImageFolder": [class_folders],
    "SegmentationFolder": [mask_folders, mask_lists],
    "DetectionFolder": [coco, voc, yolo, boxes_csv, id_pngs],
    "CaptionTable": [caption_table],
    "COCOCaptions": [karpathy],
    "Flickr8k": [flickr8k],
    "VideoFolder": [videos],
}


def state(root: Path) -> dict[str, str]:
    """Content of every file below a folder."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def fixed(root: Path, out: Path, data: str, settings: dict) -> None:
    settings = {"root": "", "val_split": 0, "batch_size": 1, **settings}
    settings["root"] = str(root / settings["root"])
    words = [word for key, value in settings.items() for word in (f"--data.{key}", str(value))]
    with pytest.raises(DataError):
        check(["--data", data, *words, "--fix", str(out), "--run_dir", str(out.parent / "run")])


@pytest.mark.parametrize(("data", "make"), [(data, make) for data, made in LAYOUTS.items() for make in made])
def test_the_copy_lacks_leaks_and_copies_and_is_read_by_fit(data, make, tmp_path, capsys):
    root, out = tmp_path / "data", tmp_path / "clean"
    root.mkdir()
    settings = make(root)
    before = state(root)
    fixed(root, out, data, settings)
    assert state(root) == before
    place = str(out / settings.pop("root", ""))
    copy = getattr(datamodules, data)(place, val_split=0, batch_size=1, **settings)
    copy.setup("fit")
    kept = {split: {Path(source.id(i)).stem[-2:] for i in rows} for split, (source, rows) in copy.splits.items()}
    kept.pop("val", None)
    assert kept == {"train": {"t0", "t2", "t4"}, "test": {"e0", "e1"}}, capsys.readouterr().out
    assert copy.shared == []
    with (out / "left_out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sorted(Path(row["file"]).stem[-2:] for row in rows) == ["t1", "t3"]
    assert any((out / path).is_symlink() for path in out.rglob("*"))


def test_broken_files_and_images_in_two_classes_are_left_out(tmp_path):
    root, out = tmp_path / "data", tmp_path / "clean"
    for i in range(4):
        noise(root / "cat" / f"{i}.png", i)
        noise(root / "dog" / f"{i}.png", 10 + i)
    (root / "cat" / "0.png").write_bytes((root / "cat" / "0.png").read_bytes()[:50])
    shutil.copy(root / "cat" / "1.png", root / "dog" / "1.png")
    fixed(root, out, "ImageFolder", {"val_split": 0.3})
    kept = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert kept == ["cat/2.png", "cat/3.png", "dog/0.png", "dog/2.png", "dog/3.png"]


def test_text_is_not_fixed_and_says_so(tmp_path, capsys):
    for name in ("train", "test"):
        for side in ("en", "de"):
            (tmp_path / f"{name}.{side}").write_text("".join(f"a dog number {i} {side}\n" for i in range(9)))
    words = [f"--data.source={tmp_path / 'train.en'}", f"--data.target={tmp_path / 'train.de'}"]
    words += [f"--data.test_source={tmp_path / 'test.en'}", f"--data.test_target={tmp_path / 'test.de'}"]
    with pytest.raises(DataError):
        check(["--data", "ParallelText", *words, "--fix", str(tmp_path / "o"), "--run_dir", str(tmp_path / "run")])
    assert "no cleaned copy is written" in " ".join(capsys.readouterr().out.split())
    assert not (tmp_path / "o").exists()


def test_no_copy_is_made_where_nothing_is_left_to_train_on_or_it_cannot_be_written(tmp_path, capsys):
    root = tmp_path / "data"
    for i in range(3):
        noise(root / "test" / "cat" / f"{i}.png", i)
        noise(root / "train" / "cat" / f"{i}.png", i)
    (tmp_path / "file").write_text("")
    places = {tmp_path / "o": "nothing would be left", Path("/proc/o"): "--fix /proc/o"}
    for number, (out, said) in enumerate(places.items()):
        words = ["--data", "ImageFolder", "--data.root", str(root), "--data.val_split", "0"]
        with pytest.raises(DataError):
            check([*words, "--fix", str(out), "--run_dir", str(tmp_path / f"run{number}")])
        assert said in " ".join(capsys.readouterr().out.split())
        assert not out.exists()
    with pytest.raises(DataError, match=r"--fix .*/file/o cannot be written"):
        check([*words, "--fix", str(tmp_path / "file" / "o"), "--run_dir", str(tmp_path / "run")])
