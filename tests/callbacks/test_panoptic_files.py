"""Figures, tables and files of panoptic segmentation."""

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from callbacks.collectors.panoptic import PanopticCollector, draw_panoptic
from callbacks.figures.overlays import overlay
from callbacks.figures.segments import MAX_SEGMENTS, draw_segments
from callbacks.writers.base import Source
from callbacks.writers.panoptic import PanopticFiles
from commands.demo.answers import class_map, semantic
from commands.serve.answers import Form, Meaning, answer, image_of
from datamodules import PanopticFolder
from datamodules.segmentation.coco_maps import read_segment_ids
from modules.contracts.palette import palette as default_palette
from modules.metrics.panoptic import PanopticScores, per_class
from tests.helpers.files import rows
from tests.helpers.panoptic_files import CLASSES, IDS, THINGS, random_image, write_panoptic
from tests.helpers.small_task import Backbone

TASK = SimpleNamespace(classes=CLASSES, things=["dog", "cat"], backbone=Backbone())


def answers(batch: dict, generator: np.random.Generator) -> dict:
    """The truth of each image, with half of its segments lost and one of another class."""
    found = {"segments": [], "labels": [], "scores": []}
    for segments, labels, size in zip(batch["segments"], batch["labels"], batch["size"].tolist(), strict=True):
        kept = np.flatnonzero(generator.random(len(labels)) < 0.7)
        numbers = np.zeros(len(labels) + 1, np.int32)
        numbers[kept + 1] = np.arange(1, len(kept) + 1)
        shown = torch.from_numpy(numbers)[segments[: size[0], : size[1]].long()]
        found["segments"].append(shown.int())
        chosen = labels[kept].clone()
        chosen[:1] = (chosen[:1] + 1) % 4
        found["labels"].append(chosen)
        found["scores"].append(torch.linspace(1, 0.5, len(kept)))
    return found


@pytest.fixture
def val(tmp_path) -> tuple[PanopticFolder, list[tuple[dict, dict]]]:
    """Data of nine images, and the batches of its validation with answers."""
    generator = np.random.default_rng(5)
    write_panoptic(tmp_path / "data", [random_image(generator) for _ in range(4)])
    write_panoptic(tmp_path / "data", [random_image(generator) for _ in range(9)], split="val")
    data = PanopticFolder(str(tmp_path / "data"), image_size=None, workers=0, batch_size=4)
    data.setup("fit")
    pairs = []
    for batch in data.val_dataloader():
        found, metric = answers(batch, generator), PanopticScores(THINGS)
        metric.update(found["segments"], found["labels"], batch["truth"])
        pairs.append((batch, found | {"matches": metric.latest}))
    return data, pairs


def written(data: PanopticFolder, pairs: list[tuple[dict, dict]], folder: Path, predicting: bool = False) -> list[Path]:
    trainer = SimpleNamespace(
        default_root_dir=folder, global_rank=0, testing=False, predicting=predicting, datamodule=data
    )
    files = PanopticFiles(Source(trainer, TASK, pairs[0][0]))
    for pair in pairs:
        files.add(*pair)
    files.close()
    return files.merge(1)


def test_the_files_are_in_cocos_format_with_the_ids_of_the_data(val, tmp_path):
    data, pairs = val
    found, table, folder = written(data, pairs, tmp_path)
    content = json.loads(found.read_text())
    assert [one["id"] for one in content["categories"]] == IDS
    assert [one["isthing"] for one in content["categories"]] == [1, 1, 0, 0]
    images = [row for batch, one in pairs for row in zip(batch["id"], one["segments"], one["labels"], strict=True)]
    for annotation, (name, segments, labels) in zip(content["annotations"], images, strict=True):
        assert annotation["image_id"] == data.image_ids[name]
        assert annotation["file_name"] == name.replace(".jpg", ".png")
        assert np.array_equal(read_segment_ids(folder / annotation["file_name"]), segments)
        infos = annotation["segments_info"]
        assert [one["category_id"] for one in infos] == [IDS[label] for label in labels.tolist()]
        assert [one["area"] for one in infos] == segments.flatten().bincount(minlength=len(labels) + 1)[1:].tolist()
        for one in infos:
            left, top, width, height = one["bbox"]
            inside = segments[top : top + height, left : left + width] == one["id"]
            assert (inside.sum() == one["area"] and inside.any(0).all()) or inside.any(1).any()
    assert [row["path"] for row in rows(table)] == [name for name, *_ in images]
    assert [int(row["segments"]) for row in rows(table)] == [len(labels) for *_, labels in images]


def test_the_files_can_be_read_as_data(val, tmp_path):
    data, pairs = val
    written(data, pairs, tmp_path)
    again = tmp_path / "again"
    (again / "annotations").mkdir(parents=True)
    (tmp_path / "data" / "val").rename(again / "val")
    for part in ("val_panoptic.json", "val_panoptic"):
        (tmp_path / "predictions" / part).rename(again / "annotations" / part)
    read = PanopticFolder(str(again), image_size=None, workers=0)
    assert (read.classes, read.things) == (CLASSES, ["dog", "cat"])
    assert len(read.sources()["val"]) == 9


@pytest.mark.integration  # it starts processes
def test_the_quality_of_the_files_is_that_of_panopticapi(val, tmp_path):
    evaluation = pytest.importorskip("panopticapi.evaluation", reason="panopticapi is not installed")
    data, pairs = val
    found, *_ = written(data, pairs, tmp_path)
    expected = evaluation.pq_compute(str(tmp_path / "data/annotations/panoptic_val.json"), str(found))
    metric = PanopticScores(THINGS)
    for batch, one in pairs:
        metric.update(one["segments"], one["labels"], batch["truth"])
    scores = metric.compute()
    for end, group in (("", "All"), ("_things", "Things"), ("_stuff", "Stuff")):
        for name in ("pq", "sq", "rq"):
            assert scores[name + end].item() == pytest.approx(expected[group][name], abs=1e-6)


def test_predict_draws_the_segments_over_the_images(val, tmp_path):
    data, pairs = val
    data.splits = {"test": data.splits["val"]}  # whose images predict asks for
    *_, overlays = written(data, pairs, tmp_path, predicting=True)
    with Image.open(overlays / pairs[0][0]["id"][0]) as drawn:
        assert drawn.size == (32, 24)


def test_metrics_of_each_class_and_the_worst_images_are_collected(val, tmp_path):
    _, pairs = val
    collector = PanopticCollector(3)
    for i, pair in enumerate(pairs):
        collector.update(*pair, TASK, 4 * i)
    collector.gather()
    matches = torch.cat([one["matches"] for _, one in pairs])
    collector.write(tmp_path, "val", TASK)
    table = rows(tmp_path / "val_per_class.csv")
    expected = per_class(matches.sum(0).numpy())
    assert list(table[0]) == ["class", "segments", "pq", "sq", "rq"]
    assert [float(row["pq"]) for row in table] == pytest.approx(expected["pq"].tolist(), rel=1e-4, nan_ok=True)
    right, iou, wrong, missed = matches.sum(2).unbind(1)
    quality = iou / (right + (wrong + missed) / 2)
    assert collector.worst.kept()["quality"].tolist() == pytest.approx(quality.sort().values[:3].tolist(), rel=1e-5)
    names = [name for name, figure in collector.draw("val", TASK, None) if figure.shape[2] == 3]
    assert names == ["predictions", "mistakes", "classes"]


def test_a_training_batch_is_drawn(val):
    data, _ = val
    batch = next(iter(data.train_dataloader()))
    assert draw_panoptic(batch, 2, TASK.backbone, data).shape[2] == 3


def test_answers_of_the_server_and_the_page_are_the_segments():
    segments, labels = np.array([[0, 1, 2, 2]], np.int32), np.array([3, 0])
    found = {"segments": segments, "labels": labels, "scores": np.array([0.9, 0.5], np.float32)}
    meaning = Meaning(CLASSES, default_palette(4), np.arange(4))
    given = answer(found, meaning, Form())["segments"]
    assert [(one["id"], one["label"], one["score"]) for one in given] == [(1, "road", 0.9), (2, "dog", 0.5)]
    assert coco.decode(given[1]["mask"] | {"counts": given[1]["mask"]["counts"].encode()}).tolist() == [[0, 0, 1, 1]]
    assert answer(found, meaning, Form(masks="none"))["segments"][0].keys() == {"id", "label", "score"}
    with Image.open(BytesIO(image_of(found, meaning))) as png:
        assert np.asarray(png)[..., 0].tolist() == segments.tolist()
    assert class_map(found).tolist() == [[255, 3, 0, 0]]
    drawn, shares = semantic(np.zeros((1, 4, 3), np.uint8), found, meaning)
    assert (drawn.shape[2], shares) == (3, {"dog": 0.5, "road": 0.25})


def test_segments_have_the_colors_of_their_classes_and_borders_between_them():
    image, segments = np.full((4, 12, 3), 90, np.uint8), np.repeat([[1, 2, 0]], 4, 0).repeat(4, 1)
    palette = [(200, 0, 0), (0, 200, 0)]
    drawn = draw_segments(image, segments, [1, 1], palette)
    plain = overlay(image, np.zeros((4, 12), np.uint8), palette[1:])
    assert np.array_equal(drawn[:, :3], plain[:, :3]) and np.array_equal(drawn[:, 4:7], plain[:, 4:7])
    assert (drawn[:, 3] < plain[:, 3]).any()
    assert not np.array_equal(drawn[:, 9:], plain[:, 9:])
    many = np.arange(MAX_SEGMENTS + 3).reshape(1, -1)
    assert draw_segments(np.zeros((1, MAX_SEGMENTS + 3, 3), np.uint8), many, [0] * (MAX_SEGMENTS + 2), palette).shape
    assert draw_segments(image, np.zeros_like(segments), [], palette).shape == image.shape
