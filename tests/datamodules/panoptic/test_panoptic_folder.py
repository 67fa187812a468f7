"""COCO's panoptic layout: what is read, refused or left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from datamodules import PanopticFolder
from modules.contracts import DataError
from modules.metrics.panoptic import PanopticScores
from tests.helpers.errors import refuses
from tests.helpers.images import save
from tests.helpers.panoptic_files import CLASSES, colors, random_image, segment, write_panoptic

SHAPE = (24, 32)
CAT, SKY, HERD = 7 * 65536 + 3, 300, 9


def image() -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A sky, a cat and a herd of cats, void below."""
    numbers = np.zeros(SHAPE, np.int64)
    numbers[:16], numbers[4:12, 6:20], numbers[12:16, 24:] = SKY, CAT, HERD
    return numbers, [segment(SKY, 30), segment(CAT, 7), segment(HERD, 7, crowd=1)]


def data(root: Path, **settings: Any) -> PanopticFolder:
    made = PanopticFolder(str(root), **{"image_size": None, "val_split": 0.0, "workers": 0, "batch_size": 1} | settings)
    made.setup("fit")
    return made


def change(file: Path, **changes: Any) -> None:
    """Replace parts of the first annotation of a json."""
    content = json.loads(file.read_text())
    content["annotations"][0] |= changes
    file.write_text(json.dumps(content))


def test_ids_become_segments_with_classes_in_order_of_the_category_ids(tmp_path):
    numbers, segments = image()
    write_panoptic(tmp_path, [(numbers, segments)])
    found = data(tmp_path, augment="none")
    assert (found.classes, found.things) == (CLASSES, ["dog", "cat"])
    assert (found.category_ids, found.image_ids) == ([2, 7, 30, 90], {"train/train_1.jpg": 1})
    (batch,) = found.train_dataloader()
    assert batch["image"].shape == (1, 3, 32, 32)
    assert batch["labels"][0].tolist() == [2, 1]
    shown = batch["segments"][0, : SHAPE[0]].numpy()
    assert np.array_equal(shown, np.select([numbers == SKY, numbers == CAT], [1, 2], 0))  # crowds are void, too
    assert not batch["segments"][0, SHAPE[0] :].any()


def test_evaluation_knows_crowds_in_the_order_of_the_json_at_the_original_size(tmp_path):
    write_panoptic(tmp_path, [image()])
    write_panoptic(tmp_path, [image(), image()], split="val")
    (batch,) = data(tmp_path, image_size=16, batch_size=2).val_dataloader()
    assert batch["image"].shape[-2:] == (32, 32)  # a multiple of 32
    assert batch["inside"].tolist() == [[12, 16]] * 2
    truth = batch["truth"][0]
    assert (truth["labels"].tolist(), truth["crowd"].tolist()) == ([2, 1, 1], [False, False, True])
    assert truth["rle"][0]["size"] == list(SHAPE)
    assert batch["segments"][0, :12, :16].unique().tolist() == [0, 1, 2]


def test_segments_follow_the_image_through_scale_crop_and_flip(tmp_path):
    generator = np.random.default_rng(0)
    images = [random_image(generator, (40, 40)) for _ in range(6)]
    file = write_panoptic(tmp_path, images)
    for i, (numbers, segments) in enumerate(images, 1):  # each segment in a shade of its own
        shades = {one["id"]: 40 * place for place, one in enumerate(segments, 1) if not one["iscrowd"]}
        gray = sum((shade * (numbers == number) for number, shade in shades.items()), np.zeros((40, 40), int))
        save(np.repeat(gray[..., None], 3, 2).astype(np.uint8), tmp_path / "train" / f"train_{i}.png")
        (tmp_path / "train" / f"train_{i}.jpg").unlink()
    content = json.loads(file.read_text())
    content["images"] = [one | {"file_name": one["file_name"].replace("jpg", "png")} for one in content["images"]]
    file.write_text(json.dumps(content))
    found = data(tmp_path, image_size=64, scale=(0.6, 1.6), mosaic=0.3, batch_size=6)
    inner = 0
    for _ in range(3):
        (batch,) = found.train_dataloader()
        for pixels, segments, labels in zip(batch["image"], batch["segments"], batch["labels"], strict=True):
            assert int(segments.max()) <= len(labels)
            for number in range(1, len(labels) + 1):
                shown = pixels[0][segments == number].float()
                inner += len(shown)
                if len(shown) > 60:
                    assert ((shown - shown.median()).abs() < 10).float().mean() > 0.6  # borders alone are mixed
                    assert shown.median() >= 38
    assert inner > 5000


def test_jsons_alone_and_other_places_are_found(tmp_path):
    file = write_panoptic(tmp_path, [image()])
    file.with_suffix("").rename(tmp_path / "segments")
    file.rename(tmp_path / "segments.json")
    assert len(data(tmp_path).splits["train"][1]) == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"segments_info": [segment(SKY, 30), segment(CAT, 7)]}, [str(HERD), "train_1.png", "lacks"]),
        ({"segments_info": [*image()[1], segment(77, 2)]}, ["77", "train_1.png", "no pixel"]),
        ({"segments_info": [*image()[1], segment(CAT, 2)]}, [str(CAT), "twice"]),
        ({"segments_info": [*image()[1][:2], segment(HERD, 8)]}, [str(HERD), "category_id 8"]),
        ({"segments_info": [{"id": SKY}]}, ["category_id"]),
        ({"segments_info": None}, ["segments_info"]),
        ({"image_id": 5}, ["image_id 5", "annotations[0]"]),
        ({"file_name": "gone.png"}, ["train_1.jpg", "gone.png"]),
    ],
)
def test_what_contradicts_itself_is_refused_with_file_and_id(tmp_path, changes, named):
    file = write_panoptic(tmp_path, [image()])
    change(file, **changes)
    with refuses(DataError, file, *named):
        data(tmp_path)


def test_two_annotations_of_an_image_and_others_categories_are_refused(tmp_path):
    file = write_panoptic(tmp_path, [image(), image()])
    content = json.loads(file.read_text())
    content["annotations"][1]["image_id"] = 1
    file.write_text(json.dumps(content))
    with refuses(DataError, file, "annotations[1]", "image 1"):
        data(tmp_path)
    write_panoptic(tmp_path, [image()])
    categories = [{"id": 7, "name": "cat", "isthing": 0}, {"id": 30, "name": "sky", "isthing": 0}]
    write_panoptic(tmp_path, [image()], split="val", categories=categories)
    with refuses(DataError, "panoptic_val.json", "categories"):
        data(tmp_path)
    write_panoptic(tmp_path, [image()], split="val", categories=[{"id": 7, "name": "cat"}])
    with refuses(DataError, "panoptic_val.json", "isthing"):
        data(tmp_path)


def test_pngs_that_are_damaged_gray_or_of_another_size_are_refused(tmp_path):
    file = write_panoptic(tmp_path, [image()])
    png = file.with_suffix("") / "train_1.png"
    save(colors(image()[0][:, :20]), png)
    with refuses(DataError, png, "32 x 24", "20 x 24"):
        data(tmp_path)
    save(image()[0].astype(np.uint8), png)
    with refuses(DataError, png, "RGB"):
        data(tmp_path)
    png.write_bytes(b"none")
    with refuses(DataError, png):
        data(tmp_path)


def test_folders_without_the_layout_are_refused(tmp_path):
    with refuses(DataError, "data.root", tmp_path / "none"):
        data(tmp_path / "none")
    with refuses(DataError, tmp_path, "panoptic_train.json"):
        data(tmp_path)


def test_with_skip_what_is_wrong_is_left_out_counted_and_void(tmp_path):
    file = write_panoptic(tmp_path, [image(), image()])
    change(file, segments_info=[segment(SKY, 30), segment(77, 2)])
    (file.with_suffix("") / "train_2.png").unlink()
    found = data(tmp_path, on_error="skip", augment="none")
    assert len(found.dropped) == 2 and any("77" in line for line in found.dropped)
    assert len(found.skipped) == 1 and "train_2.png" in found.skipped[0]
    (batch,) = found.train_dataloader()
    assert np.array_equal(batch["segments"][0, :24].numpy() > 0, image()[0] == SKY)


def test_areas_that_are_not_those_of_the_pixels_are_told(tmp_path):
    file = write_panoptic(tmp_path, [image()])
    change(file, segments_info=[one | {"area": 5} for one in image()[1]])
    (line,) = [line for line in data(tmp_path).describe() if "area in the json" in line]
    assert "3" in line and f"segment {SKY}" in line


def test_the_constant_answer_is_that_of_the_metric(tmp_path):
    generator = np.random.default_rng(3)
    write_panoptic(tmp_path, [random_image(generator) for _ in range(8)])
    write_panoptic(tmp_path, [random_image(generator) for _ in range(8)], split="val")
    found, pixels = data(tmp_path), np.zeros(4)
    for batch in found.train_dataloader():
        for segments, labels in zip(batch["segments"], batch["labels"], strict=True):
            pixels += np.bincount(labels[segments[segments > 0].long() - 1], minlength=4)
    metric, answer = PanopticScores(found.thing_classes), torch.tensor([int(pixels.argmax())])
    for batch in found.val_dataloader():
        metric.update([torch.ones(SHAPE, dtype=torch.int32)], [answer], batch["truth"])
    assert found.baselines()["constant"] == pytest.approx(metric.compute()["pq"].item(), abs=1e-6)
    assert any(f"{metric.compute()['pq']:.3f}" in line for line in found.describe())
