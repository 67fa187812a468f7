"""Proposals are read from results files and stay on their objects."""

import json
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest

from datamodules.detection.proposals import WithProposals, read_proposals, separated
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import line_naming, refuses
from tests.helpers.object_augment import EVERY, SETTINGS, augment
from tests.helpers.rectangles import Rectangles, rectangles

GOOD = {"image_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}


def written(folder: Path, entries: Any) -> Path:
    path = folder / "proposals.json"
    path.write_text(json.dumps(entries))
    return path


def known(source=None) -> WithProposals:
    """Proposals that are the objects themselves."""
    source = source or rectangles()
    return WithProposals(source, {source.id(i): source.objects(i).boxes for i in range(len(source))})


def test_entries_are_boxes_of_their_images_with_the_best_first(tmp_path):
    entries = [GOOD, GOOD | {"bbox": [10, 20, 5, 6], "score": 0.9}, GOOD | {"image_id": "b.png", "category_id": 3}]
    found, unknown = read_proposals(written(tmp_path, entries), {"a.png": 7, "b.png": 8}, False)
    assert {name: boxes.tolist() for name, boxes in found.items()} == {
        "a.png": [[10, 20, 15, 26], [1, 2, 4, 6]],
        "b.png": [[1, 2, 4, 6]],
    }
    assert found["a.png"].dtype == np.float32 and unknown == 0


def test_entries_may_have_ids_as_text_or_the_names_of_their_files(tmp_path):
    entries = [GOOD | {"image_id": "7"}, GOOD | {"image_id": 99, "file_name": "b.png"}]
    found, _ = read_proposals(written(tmp_path, entries), {"a.png": 7, "b.png": 8}, False)
    assert list(found) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ({"annotations": []}, ["data.proposals", "image_id", "bbox", "score"]),
        ([GOOD, {k: v for k, v in GOOD.items() if k != "score"}], ["entry 1", "'score'"]),
        ([{k: v for k, v in GOOD.items() if k != "bbox"}], ["entry 0", "'bbox'"]),
        ([{k: v for k, v in GOOD.items() if k != "image_id"}], ["entry 0", "'image_id'"]),
        ([GOOD | {"bbox": [1, 2, 3]}], ["entry 0", "bbox", [1, 2, 3]]),
        ([GOOD | {"bbox": None}], ["entry 0", "bbox", None]),
        (["a.png"], ["entry 0", "a.png"]),
        ([GOOD | {"bbox": [1, 2, -3, 4]}], ["entry 0", "bbox", [1, 2, -3, 4]]),
        ([GOOD | {"score": float("nan")}], ["entry 0", "score", "nan"]),
        ([GOOD | {"image_id": [7]}], ["entry 0", "image_id", [7]]),
        ([GOOD, GOOD | {"image_id": 9}], ["entry 1", "image_id 9", "--data.on_error skip"]),
    ],
)
def test_what_is_wrong_is_named_by_file_and_entry(tmp_path, entries, names):
    path = written(tmp_path, entries)
    with refuses(DataError, path, *names):
        read_proposals(path, {"a.png": 7}, False)


@pytest.mark.parametrize("content", [None, "[{", ""])
def test_files_that_are_no_json_are_refused(tmp_path, content):
    path = tmp_path / "proposals.json"
    if content is not None:
        path.write_text(content)
    with refuses(DataError, "data.proposals", path):
        read_proposals(path, {}, False)


def test_entries_of_images_that_were_skipped_are_counted(tmp_path):
    entries = [GOOD, GOOD | {"image_id": 9}]
    found, unknown = read_proposals(written(tmp_path, entries), {"a.png": 7}, True)
    assert (len(found["a.png"]), unknown) == (1, 1)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_proposals_move_with_their_objects_and_change_nothing_else(settings):
    source, make, seen = rectangles(), augment(**settings), 0
    for epoch, index in np.ndindex(2, 8):
        key = (0, epoch, index)
        before, sample = make(source, EVERY, index, *key), separated(make(known(source), EVERY, index, *key))
        for name in ("image", "boxes", "labels"):
            assert np.array_equal(before[name], sample[name])
        assert np.array_equal(sample["proposals"], sample["boxes"])
        seen += len(sample["proposals"])
    assert seen > 10


@pytest.mark.parametrize(
    "settings",
    [{"scale": (2.0, 2.0)}, {"recipe": [A.RandomCrop(40, 50)]}, {"mosaic": 1.0, "scale": (1.5, 2.0)}],
    ids=["larger", "cropped by albumentations", "mosaic"],
)
def test_proposals_need_no_share_that_is_visible(settings):
    strict, lenient = augment(visible=0.9, **settings), augment(visible=0.0, **settings)
    lost = 0
    for index in range(8):
        every = separated(lenient(known(), EVERY, index, 0, 0, index))["boxes"]
        sample = separated(strict(known(), EVERY, index, 0, 0, index))
        assert np.array_equal(sample["proposals"], every)
        lost += len(every) - len(sample["boxes"])
    assert lost > 0


def test_ssds_crop_looks_at_objects_alone():
    source, make = rectangles(), augment(iou_crop=1.0)
    noise = {source.id(i): np.array([[0, 0, 5, 5], [60, 50, 64, 64]], np.float32) for i in range(8)}
    for index in range(8):
        before, after = (make(each, EVERY, index, 0, 0, index) for each in (source, WithProposals(source, noise)))
        assert np.array_equal(before["image"], after["image"])


def module(tmp_path: Path, **settings) -> Rectangles:
    """Two proposals in every image but the first, of either split."""
    data = Rectangles({"train": 8, "val": 5}, proposals=str(tmp_path / "proposals.json"), **settings)
    data.image_ids = {f"{split}/{i}": 100 * k + i for k, split in enumerate(("train", "val")) for i in range(8)}
    written(tmp_path, [GOOD | {"image_id": 100 * k + i} for k in (0, 1) for i in range(1, 5 + 3 * (k == 0))] * 2)
    data.setup()
    return data


def test_batches_have_proposals_in_pixels_of_the_network_and_the_truth_stays(tmp_path):
    data = module(tmp_path, augment="none")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        for batch in loader:
            for name, given, size, inside, boxes in zip(
                *(batch[k] for k in ("id", "proposals", "size", "inside", "boxes")), strict=True
            ):
                scale = (inside / size).flip(0).repeat(2).numpy()
                expected = np.array([[1, 2, 4, 6]] * (0 if name.endswith("/0") else 2)).reshape(-1, 4) * scale
                assert np.allclose(given.numpy(), expected, atol=1e-4) and given.shape[1] == 4
                assert len(boxes) == len(batch["labels"][batch["id"].index(name)])
            assert all((labels >= 0).all() for labels in batch["labels"])
            assert all((one["labels"] >= 0).all() for one in batch.get("truth", []))


def test_the_head_of_the_run_counts_proposals_and_images_without(tmp_path):
    assert line_naming(module(tmp_path).describe(), "proposals", 22, tmp_path / "proposals.json", 2, 13)


@pytest.mark.parametrize("settings", [{"masks": True}, {"copy_paste": 0.5}], ids=str)
def test_masks_cannot_follow(settings):
    with refuses(ConfigError, "data.proposals", *(f"data.{name}" for name in settings)):
        Rectangles(proposals="proposals.json", **settings)
