"""Every file of the real data sets that lies in two splits is named; the truth is computed apart, by SHA-256."""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import datamodules as d
from commands.check.copies import equal_groups
from commands.check.findings import all_items
from commands.check.near import similar, similar_sentences, thumbnails_of
from datamodules.split_data import SplitData

Splits = dict[str, list[Path]]


def folders(pattern: str, *splits: str) -> Callable[[Path], Splits]:
    return lambda root: {split: sorted(root.glob(pattern.format(split))) for split in splits}


def lists(pattern: str, place: str, splits: dict[str, str]) -> Callable[[Path], Splits]:
    def read(root: Path) -> Splits:
        found = {}
        for split, name in splits.items():
            rows = (root / pattern.format(name)).read_text().splitlines()
            found[split] = [root / place.format(row.split()[0]) for row in rows if row.strip()]
        return found

    return read


def jsons(root: Path) -> Splits:
    found = {}
    for split in ("train", "val"):
        (file,) = (root / "annotations").glob(f"instances_{split}*.json")
        listed = [image["file_name"] for image in json.loads(file.read_text())["images"]]
        found[split] = [next((root / "images").rglob(Path(name).name)) for name in listed]
    return found


SETS: dict[str, tuple[Callable[[Path], SplitData], Callable[[Path], Splits]]] = {
    "cifar10": (lambda root: d.ImageFolder(str(root), val_split=0), folders("{}/*/*.jpg", "train", "test")),
    "camvid": (lambda root: d.CamVid(str(root)), folders("{}/*.jpg", "train", "val", "test")),
    "bccd_voc": (
        lambda root: d.DetectionFolder(str(root)),
        lists("ImageSets/Main/{}.txt", "JPEGImages/{}.jpg", {"train": "train", "val": "val", "test": "test"}),
    ),
    "coco100_instances": (lambda root: d.DetectionFolder(str(root)), jsons),
    "dsb2018_nuclei": (lambda root: d.DetectionFolder(str(root)), jsons),
    "flickr8k_subset": (
        lambda root: d.Flickr8k(str(root)),
        lists("Flickr_8k.{}Images.txt", "Images/{}", {"train": "train", "val": "dev", "test": "test"}),
    ),
    "surv_fight": (lambda root: d.VideoFolder(str(root)), lists("{}.txt", "{}", {"train": "train", "val": "val"})),
    "asl_gesture_clips": (
        lambda root: d.VideoFolder(str(root)),
        lists("{}.txt", "{}", {"train": "train", "val": "val"}),
    ),
}


def shared_by_truth(splits: Splits) -> set[tuple[str, str, str, str]]:
    """Split and name of both files of each pair of equal bytes in two splits."""
    places = defaultdict(list)
    for split, files in splits.items():
        assert files, split
        for file in files:
            places[hashlib.sha256(file.read_bytes()).hexdigest()].append((split, file.name))
    return {(*a, *b) for found in places.values() for a in found for b in found if a[0] < b[0]}


@pytest.mark.parametrize("name", SETS)
def test_files_of_equal_bytes_in_two_splits_are_those_of_sha256(name, data_root):
    build, read = SETS[name]
    data = build(data_root / name)
    SplitData.setup(data)
    groups = equal_groups(data, all_items(data))
    found = {
        (a.split, a.path.name, b.split, b.path.name)
        for group in groups
        for a in group
        for b in group
        if a.split < b.split
    }
    truth = shared_by_truth(read(data_root / name))
    assert found == truth
    assert bool(truth) == bool(data.shared)


def test_sentences_in_two_splits_are_those_of_comparing_lines(data_root):
    root = data_root / "multi30k_en_de"
    data = d.Multi30k(str(root))
    SplitData.setup(data)
    groups = equal_groups(data, all_items(data))
    found = {item.name for group in groups if len({item.split for item in group}) > 1 for item in group}
    lines = {}
    for split in ("train", "val", "test_2016_flickr"):
        files = [root / f"{split}.{side}.gz" for side in ("en", "de")]
        sides = [gzip.decompress(file.read_bytes()).decode().split("\n") for file in files]
        lines[split] = {tuple(" ".join(s.split()) for s in pair) for pair in zip(*sides, strict=True) if all(pair)}
    shared = [a & b for x, a in lines.items() for y, b in lines.items() if x < y]
    assert bool(found) == any(shared)


def test_nothing_in_cifar_looks_alike_but_known_near_duplicates(data_root):
    """Pairs within one class, which all were looked at: views of one object, of CIFAR's own near duplicates."""
    data = d.ImageFolder(str(data_root / "cifar10"), val_split=0)
    data.setup()
    items = all_items(data)
    groups = equal_groups(data, items)
    found = similar(items, thumbnails_of(data, items)[0], groups)
    assert 25 <= len(found) <= 40
    assert all(copy.first.label == copy.second.label for copy in found)


@pytest.mark.parametrize("name", ["surv_fight", "asl_gesture_clips"])
def test_no_clip_of_one_camera_looks_like_another(name, data_root):
    data = SETS[name][0](data_root / name)
    SplitData.setup(data)
    items = all_items(data)
    assert similar(items, thumbnails_of(data, items)[0], equal_groups(data, items)) == []


def test_no_sentences_of_multi30k_read_alike_across_splits(data_root):
    data = d.Multi30k(str(data_root / "multi30k_en_de"))
    SplitData.setup(data)
    items = all_items(data)
    assert similar_sentences(data, items, equal_groups(data, items)) == []
