"""What is drawn of detections."""

import torch

from callbacks.object_outcomes import ObjectOutcomes, mistakes
from tests.callbacks.small_task import Task

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
    outcomes.update(batch, outputs, task, 0, 1)
    kept = outcomes.worst.kept()
    assert kept["wrong"].tolist() == [[1, 1], [1, 0]]  # missed, detections of nothing
    assert kept["true"][0, 0].tolist() == [0, 0, 16, 16, 1]  # in pixels of what is drawn

    class Data:
        palette = None

    drawn = dict(outcomes.draw("val", task, Data()))
    assert set(drawn) == {"predictions", "mistakes"}
    assert all(picture.ndim == 3 and picture.std() > 0 for picture in drawn.values())
