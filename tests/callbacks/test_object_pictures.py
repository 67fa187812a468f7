"""What is drawn and written of detections while a network is judged."""

import csv

import pytest
import torch
from small_objects import CLASSES, INSIDE, Boxes, Finder, ObjectData, collate, encoded
from small_task import Task

from callbacks.drawing.objects import stacked
from callbacks.files.detection_errors import MEANING, SURE
from callbacks.outcomes import objects as object_outcomes
from callbacks.outcomes.masks import name_text
from callbacks.outcomes.objects import ObjectOutcomes, mistakes
from callbacks.pictures import Pictures
from callbacks.predictions import Predictions
from modules.metrics.detection import DetectionScores
from modules.metrics.matching import ERRORS

TRUE = torch.tensor([[0.0, 0, 10, 10, 0], [20, 20, 30, 30, 1]])  # boxes and class
NO_CROWD = torch.zeros(2, dtype=torch.bool)


def test_objects_found_under_their_class_are_no_mistake():
    assert mistakes(TRUE, TRUE, NO_CROWD).tolist() == [0, 0]


def test_another_class_or_place_is_a_miss_and_a_detection_of_nothing():
    other = TRUE.clone()
    other[0, 4] = 1
    other[1, :4] += 7
    assert mistakes(other, TRUE, NO_CROWD).tolist() == [2, 2]


def test_crowds_need_not_be_found():
    assert mistakes(TRUE[:1], TRUE, torch.tensor([False, True])).tolist() == [0, 0]


def test_pictures_without_objects_or_detections_count_too():
    assert mistakes(TRUE[:0], TRUE, NO_CROWD).tolist() == [2, 0]
    assert mistakes(TRUE, TRUE[:0], NO_CROWD[:0]).tolist() == [0, 2]


def test_the_worst_pictures_come_first_and_only_sure_detections_count():
    task, outcomes = Task(), ObjectOutcomes(2)
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
    outcomes.update(batch, outputs, task, 0)
    kept = outcomes.worst.kept()
    assert kept["wrong"].tolist() == [[1, 1], [1, 0]]  # missed, detections of nothing
    assert kept["true"][0, 0].tolist() == [0, 0, 16, 16, 1]  # in pixels of what is drawn


PICTURES = {"predictions", "mistakes", "curves", "classes", "errors"}


def batch(count: int, masks: bool = True) -> dict:
    """Pictures of `small_objects`, as the task gets them."""
    samples = collate([Boxes(count, 0, None)[i] for i in range(count)])
    return samples | {"image": Task().backbone.normalise(samples["image"])}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("masks", [False, True])
def test_a_detector_leaves_its_batch_objects_mistakes_curves_classes_and_errors(trainer, tmp_path, masks):
    run = trainer(Pictures(samples=4), num_sanity_val_steps=2)
    run.fit(Finder(masks), datamodule=ObjectData())
    drawn = {path.stem for path in (tmp_path / "pictures").glob("*.png")}
    assert drawn == {"train_batch", *(f"val_{name}" for name in PICTURES)}
    run.test(Finder(masks), datamodule=ObjectData(), verbose=False)
    assert {f"test_{name}" for name in PICTURES} <= {path.stem for path in (tmp_path / "pictures").glob("*.png")}


def test_the_tables_hold_the_figures_of_every_class_and_nan_of_one_that_is_nowhere(trainer, tmp_path):
    task = Finder()
    trainer(Pictures(samples=2)).test(task, datamodule=ObjectData(), verbose=False)
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


def test_masks_are_kept_in_pixels_of_what_is_drawn_and_only_of_pictures_that_may_be_kept(monkeypatch):
    decoded = []
    monkeypatch.setattr(object_outcomes, "stacked", lambda rles, size: decoded.append(len(rles)) or stacked(rles, size))
    task, outcomes, samples = Finder(), ObjectOutcomes(2), batch(30)
    for part in torch.arange(30).split(3):
        one = {k: v[part] if isinstance(v, torch.Tensor) else [v[i] for i in part] for k, v in samples.items()}
        outcomes.update(one, task.predict_step(one, 0), task, int(part[0]))
    assert len(decoded) < 2 * 30 / 2  # truth and found of each
    kept = outcomes.sample.kept()
    for image, name, shown in zip(kept["image"], kept["name"], kept["true_masks"], strict=True):
        number = int(name_text(name.numpy())[-7:-4])
        expected = sum((i + 1) * mask.int() for i, mask in enumerate(samples["masks"][number]))
        assert torch.equal(shown.int(), expected if number % 3 else torch.zeros_like(shown).int())
        assert torch.equal(image[:, : INSIDE[0]], Boxes(30, 0, None).image[number, :, : INSIDE[0]])
    assert outcomes.worst.kept()["found"][0, 0, 4:].tolist() == pytest.approx([1, 0.9])  # class and score


def test_large_pictures_are_kept_small_with_their_boxes_and_masks_in_place():
    task, outcomes = Finder(), ObjectOutcomes(1)
    box = torch.tensor([[200.0, 100, 600, 300]])
    labels, crowd = torch.tensor([1]), torch.zeros(1, dtype=torch.bool)
    truth = {"boxes": box, "labels": labels, "crowd": crowd, "rle": [encoded([200, 100, 600, 300], (800, 1600))]}
    large = {"image": torch.zeros(1, 3, 640, 1280), "inside": torch.tensor([[640, 1280]]), "id": ["large.png"]}
    found = {"boxes": [box], "labels": [labels], "scores": [torch.tensor([0.9])], "rle": [truth["rle"]]}
    outcomes.update(large | {"size": torch.tensor([[800, 1600]]), "truth": [truth]}, found, task, 0)
    kept = outcomes.sample.kept()
    assert kept["image"].shape == (1, 3, 160, 320)
    assert kept["true"][0, 0].tolist() == [40, 20, 120, 60, 1]
    for name in ("true_masks", "found_masks"):
        rows, columns = kept[name][0].nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 40, 119)


def test_what_is_drawn_and_called_an_error_has_the_same_score():
    assert DetectionScores(1).confidence == SURE
    assert MEANING.keys() == set(ERRORS)


def test_a_split_without_objects_is_still_drawn_and_judged_by_nothing(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(Boxes, "__getitem__", lambda self, index, get=Boxes.__getitem__: get(self, 0))
    run = trainer(Pictures(samples=2))
    run.test(Finder(), datamodule=ObjectData(), verbose=False)
    assert {path.stem for path in (tmp_path / "pictures").glob("*.png")} == {f"test_{name}" for name in PICTURES}
    assert {row["ap"] for row in rows(tmp_path / "predictions" / "test_per_class.csv")} == {"nan"}


def test_two_processes_draw_and_write_what_one_does(trainer, tmp_path):
    """Two gloo processes; 20 samples, so that none is dealt twice."""
    contents = []
    for settings in ({}, {"devices": 2, "strategy": "ddp_fork"}):
        trainer(Pictures(samples=6), **settings).test(Finder(), datamodule=ObjectData(), verbose=False)
        trainer(Predictions(), **settings).predict(Finder(), datamodule=ObjectData())
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        contents.append({path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in files})
        for path in files:
            path.unlink()
    assert len(contents[0]) == 5 + 2 + 1 + 20
    assert contents[0] == contents[1]
