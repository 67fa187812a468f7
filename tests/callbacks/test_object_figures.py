"""Figures and files of detections in validation and test."""

import numpy as np
import pytest
import torch

from callbacks.collectors import detection
from callbacks.collectors.detection import DetectionCollector, expected_mistakes, mistakes, surely
from callbacks.collectors.segmentation import name_text
from callbacks.figures.objects import stacked
from callbacks.figures.strips import strips
from callbacks.figures_callback import Figures
from callbacks.predictions import Predictions
from callbacks.writers.detection_errors import MEANING
from modules.metrics.matching import ERRORS
from tests.helpers.errors import assert_named
from tests.helpers.files import rows
from tests.helpers.small_objects import CLASSES, INSIDE, Boxes, Finder, ObjectData, collate, encoded
from tests.helpers.small_task import Task

TRUE = torch.tensor([[0.0, 0, 10, 10, 0, 0], [20, 20, 30, 30, 1, 0]])  # boxes, class, and whether a crowd
FOUND = torch.tensor([[0.0, 0, 10, 10, 0, 0.9], [20, 20, 30, 30, 1, 0.6]])  # boxes, class and score


def test_objects_found_under_their_class_are_no_mistake():
    assert mistakes(FOUND, TRUE).tolist() == [0, 0]


def test_another_class_or_place_is_a_miss_and_a_detection_of_nothing():
    other = FOUND.clone()
    other[0, 4] = 1
    other[1, :4] += 7
    assert mistakes(other, TRUE).tolist() == [2, 2]


def test_crowds_need_not_be_found():
    crowd = TRUE.clone()
    crowd[1, 5] = 1
    assert mistakes(FOUND[:1], crowd).tolist() == [0, 0]


def test_images_without_objects_or_detections_count_too():
    assert mistakes(FOUND[:0], TRUE).tolist() == [2, 0]
    assert mistakes(FOUND, TRUE[:0]).tolist() == [0, 2]


def test_expected_mistakes_are_the_mean_of_the_mistakes_over_all_thresholds():
    found = torch.cat([FOUND, torch.tensor([[50.0, 50, 60, 60, 0, 0.2], [0, 0, 10, 10, 1, 0.7]])])
    thresholds = (torch.arange(1000) + 0.5) / 1000
    counted = [mistakes(found[found[:, 5] >= threshold], TRUE).sum() for threshold in thresholds]
    assert expected_mistakes(found, TRUE).item() == pytest.approx(np.mean(counted), abs=1e-3)
    assert expected_mistakes(FOUND[:0], TRUE[:0]) == 0


def test_the_worst_images_come_first_and_only_detections_from_the_threshold_on_count():
    task, collector = Task(), DetectionCollector(3)
    box, label = torch.tensor([[0.0, 0, 32, 32]]), torch.tensor([1])
    truth = {"boxes": box, "labels": label, "crowd": torch.zeros(1, dtype=torch.bool)}
    batch = {
        "image": torch.zeros(3, 3, 16, 16),
        "inside": torch.tensor([[16, 16]] * 3),
        "size": torch.tensor([[32, 32]] * 3),
        "truth": [truth] * 3,
        "id": ["right.png", "unsure.png", "wrong.png"],
    }
    far = torch.tensor([[20.0, 20, 30, 30]])
    outputs = {
        "boxes": [box, box, far],
        "labels": [label] * 3,
        "scores": [torch.tensor([score]) for score in (0.9, 0.3, 0.9)],
    }
    collector.update(batch, outputs, task, 0)
    kept = collector.worst.kept()
    assert [name_text(name.numpy()) for name in kept["name"]] == ["wrong.png", "unsure.png", "right.png"]
    assert kept["true"][0, 0].tolist() == [0, 0, 16, 16, 1, 0]  # in pixels of what is drawn
    assert surely(kept, 0.5)["wrong"].tolist() == [[1, 1], [1, 0], [0, 0]]  # missed, detections of nothing
    assert surely(kept, 0.2)["wrong"].tolist() == [[1, 1], [0, 0], [0, 0]]


def test_a_detector_of_low_scores_is_drawn_from_its_best_threshold_on(trainer, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(detection, "strips", lambda *args: said.append(args) or strips(*args))
    find = Finder.predict_step

    def unsure(self, batch, index):
        found = find(self, batch, index)
        right = [torch.tensor([0] * (len(b) - 1) + [0]) for b in found["boxes"]]
        return found | {"scores": [s / 10 for s in found["scores"]], "labels": right}

    monkeypatch.setattr(Finder, "predict_step", unsure)
    task = Finder()
    trainer(Figures(samples=4)).test(task, datamodule=ObjectData(), verbose=False)
    threshold = task.reports("test")["masks"].threshold
    assert 0.04 < threshold <= 0.09
    (panels, *_, title), *_ = said
    assert_named(title, f"{threshold:.2f}")
    true, found = np.array([[(panel != panel[0, 0]).any() for panel in row] for row in panels]).T
    assert found.any() and true.any()
    assert {row["threshold"] for row in rows(tmp_path / "predictions" / "test_errors.csv")} == {f"{threshold:.6g}"}


IMAGES = {"predictions", "mistakes", "curves", "classes", "errors"}


def batch(count: int, masks: bool = True) -> dict:
    """Images of `small_objects` as batches of the task."""
    samples = collate([Boxes(count, 0, None)[i] for i in range(count)])
    return samples | {"image": Task().backbone.normalize(samples["image"])}


@pytest.mark.parametrize("masks", [False, True])
def test_a_detector_leaves_its_batch_objects_mistakes_curves_classes_and_errors(trainer, tmp_path, masks):
    run = trainer(Figures(samples=4), num_sanity_val_steps=2)
    run.fit(Finder(masks), datamodule=ObjectData())
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {"train_batch", *(f"val_{name}" for name in IMAGES)}
    run.test(Finder(masks), datamodule=ObjectData(), verbose=False)
    assert {f"test_{name}" for name in IMAGES} <= {path.stem for path in (tmp_path / "figures").glob("*.png")}


def test_the_tables_hold_the_metrics_of_every_class_and_nan_of_one_that_is_nowhere(trainer, tmp_path):
    task = Finder()
    trainer(Figures(samples=2)).test(task, datamodule=ObjectData(), verbose=False)
    written = rows(tmp_path / "predictions" / "test_per_class.csv")
    assert list(written[0]) == ["class", "objects", "ap", "ap50", "mask_ap", "mask_ap50"]
    assert [row["class"] for row in written] == CLASSES
    assert [int(row["objects"]) for row in written] == [13, 6, 0]
    reports = task.reports("test")
    for column, kind, name in (("ap", "boxes", "ap"), ("mask_ap50", "masks", "ap50")):
        expected = reports[kind].per_class[name]
        assert [float(row[column]) for row in written] == pytest.approx(expected, nan_ok=True)
    assert written[2]["ap"] == "nan"
    errors = {(row["of"], row["error"]): int(row["count"]) for row in rows(tmp_path / "predictions/test_errors.csv")}
    assert {key: count for key, count in errors.items() if count} == {("boxes", "class"): 13, ("masks", "class"): 13}


def test_masks_are_kept_in_pixels_of_what_is_drawn_and_only_of_images_that_may_be_kept(monkeypatch):
    decoded = []
    monkeypatch.setattr(detection, "stacked", lambda rles, size: decoded.append(len(rles)) or stacked(rles, size))
    task, collector, samples = Finder(), DetectionCollector(2), batch(30)
    for part in torch.arange(30).split(3):
        one = {k: v[part] if isinstance(v, torch.Tensor) else [v[i] for i in part] for k, v in samples.items()}
        collector.update(one, task.predict_step(one, 0), task, int(part[0]))
    assert len(decoded) < 2 * 30 / 2  # truth and found of each
    kept = collector.sample.kept()
    for image, name, shown in zip(kept["image"], kept["name"], kept["true_masks"], strict=True):
        number = int(name_text(name.numpy())[-7:-4])
        expected = sum((i + 1) * mask.int() for i, mask in enumerate(samples["masks"][number]))
        assert torch.equal(shown.int(), expected if number % 3 else torch.zeros_like(shown).int())
        assert torch.equal(image[:, : INSIDE[0]], Boxes(30, 0, None).image[number, :, : INSIDE[0]])
    assert collector.worst.kept()["found"][0, 0, 4:].tolist() == pytest.approx([1, 0.9])  # class and score
    covered = surely(collector.worst.kept(), 0.5)["found_masks"]
    assert covered.max() == 2, "what was found with .4 is the whole image, below the others"


def test_large_images_are_kept_small_with_their_boxes_and_masks_in_place():
    task, collector = Finder(), DetectionCollector(1)
    box = torch.tensor([[200.0, 100, 600, 300]])
    labels, crowd = torch.tensor([1]), torch.zeros(1, dtype=torch.bool)
    truth = {"boxes": box, "labels": labels, "crowd": crowd, "rle": [encoded([200, 100, 600, 300], (800, 1600))]}
    large = {"image": torch.zeros(1, 3, 640, 1280), "inside": torch.tensor([[640, 1280]]), "id": ["large.png"]}
    found = {"boxes": [box], "labels": [labels], "scores": [torch.tensor([0.9])], "rle": [truth["rle"]]}
    collector.update(large | {"size": torch.tensor([[800, 1600]]), "truth": [truth]}, found, task, 0)
    kept = collector.sample.kept()
    assert kept["image"].shape == (1, 3, 160, 320)
    assert kept["true"][0, 0].tolist() == [40, 20, 120, 60, 1, 0]
    for name in ("true_masks", "found_masks"):
        rows, columns = kept[name][0].nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 40, 119)


def test_every_kind_of_error_is_explained():
    assert MEANING.keys() == set(ERRORS)


def test_a_split_without_objects_is_still_drawn_and_judged_by_nothing(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(Boxes, "__getitem__", lambda self, index, get=Boxes.__getitem__: get(self, 0))
    run = trainer(Figures(samples=2))
    run.test(Finder(), datamodule=ObjectData(), verbose=False)
    assert {path.stem for path in (tmp_path / "figures").glob("*.png")} == {f"test_{name}" for name in IMAGES}
    assert {row["ap"] for row in rows(tmp_path / "predictions" / "test_per_class.csv")} == {"nan"}


@pytest.mark.integration
def test_two_processes_draw_and_write_what_one_does(trainer, tmp_path):
    """Two gloo processes; 20 samples, so that none is duplicated."""
    contents = []
    for settings in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        trainer(Figures(samples=6), **settings).test(Finder(), datamodule=ObjectData(), verbose=False)
        trainer(Predictions(), **settings).predict(Finder(), datamodule=ObjectData())
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files})
        for path in files:
            path.unlink()
    assert len(contents[0]) == 5 + 3 + 3 + 20  # figures, tables, results, drawn images
    assert contents[0] == contents[1]
