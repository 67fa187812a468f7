"""Differences of predictions, and those with which a file is refused."""

import numpy as np
import pytest

import commands.export.object_agreement  # noqa: F401  (registers the comparison of objects)
from commands.export.agreement import TOLERANCES, Limits, differences, refusals


def rows(labels, scores):
    return [{"label": label, "scores": np.array(row, np.float32)} for label, row in zip(labels, scores, strict=True)]


def test_decisions_are_compared_by_agreement_and_numbers_by_their_difference():
    ours = rows([0, 1], [[0.8, 0.2], [0.4, 0.6]])
    label, scores = differences(ours, rows([0, 0], [[0.8, 0.2], [0.5, 0.5]]))
    assert (label.key, label.agreement, label.largest) == ("label", 0.5, None)
    assert scores.largest == pytest.approx(0.1, abs=1e-6) and scores.mean == pytest.approx(0.05, abs=1e-6)
    assert scores.relative == pytest.approx(0.125, abs=1e-6) and scores.agreement is None


def test_what_is_beyond_the_tolerance_is_said():
    ours = rows([0, 1], [[0.8, 0.2], [0.4, 0.6]])
    exact, loose = TOLERANCES["float32"], TOLERANCES["int8"]
    assert refusals(differences(ours, ours), exact) == []
    far = differences(ours, rows([0, 1], [[0.8, 0.2], [0.39, 0.61]]))
    (said,) = refusals(far, exact)
    assert "scores" in said and refusals(far, loose) == []
    assert "label" in refusals(differences(ours, rows([0, 0], [[0.8, 0.2], [0.4, 0.6]])), loose)[0]


def test_answers_that_are_no_numbers_or_of_another_shape_are_refused():
    ours = rows([0], [[0.8, 0.2]])
    strange = rows([0], [[np.nan, 0.2]])
    for one, other in ((ours, strange), (strange, ours), (ours + strange, ours + ours)):
        assert refusals(differences(one, other), TOLERANCES["int8"])
    assert refusals(differences(ours, rows([0], [[0.8, 0.1, 0.1]])), TOLERANCES["int8"])


def test_pixels_of_maps_may_differ_in_ties():
    mask = np.zeros((200, 200), np.uint8)
    other = mask.copy()
    other[0, :3] = 1
    (found,) = differences([{"mask": mask}], [{"mask": other}])
    assert found.agreement == 1 - 3 / 40_000 and not refusals([found], TOLERANCES["float32"])
    other[:2] = 1
    assert refusals(differences([{"mask": mask}], [{"mask": other}]), TOLERANCES["float32"])


def test_objects_are_compared_by_class_box_and_score():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 60, 50], [5, 5, 9, 9]], np.float32)
    ours = {"boxes": boxes, "scores": np.float32([0.9, 0.6, 0.2]), "labels": np.array([0, 1, 1])}

    limits = Limits(0.1999, 100)  # the third has the lowest score that there may be

    def refused(**changes):
        return " ".join(refusals(differences([ours], [ours | changes], limits), TOLERANCES["float32"]))

    assert not refused(scores=ours["scores"] + np.float32(1e-5))
    swapped = {key: values[[1, 0, 2]] for key, values in ours.items()}
    assert not refusals(differences([ours], [swapped]), TOLERANCES["float32"])
    edge = {key: values[:2] for key, values in ours.items()}
    assert not refusals(differences([ours], [edge], limits), TOLERANCES["float32"])
    assert "objects" in " ".join(refusals(differences([ours], [edge], Limits(0.1, 100)), TOLERANCES["float32"]))
    assert "labels" in refused(labels=np.array([0, 0, 1]))
    assert "labels" in refused(boxes=boxes + 1)
    assert "boxes" in refused(boxes=boxes * np.float32(1.003))
    assert "scores" in refused(scores=np.float32([0.9, 0.58, 0.2]))
    nothing = {key: values[:0] for key, values in ours.items()}
    assert not refusals(differences([nothing], [nothing]), TOLERANCES["float32"])
    assert "labels" in " ".join(refusals(differences([ours], [nothing]), TOLERANCES["float32"]))
    assert "objects" in " ".join(refusals(differences([nothing], [ours]), TOLERANCES["float32"]))
    fewer = {key: values[:1] for key, values in ours.items()}
    assert "labels" in " ".join(refusals(differences([ours], [fewer]), TOLERANCES["int8"]))


def test_an_object_that_rounding_suppresses_is_a_tie():
    boxes = np.float32([[0, 0, 30, 10], [10, 0, 40, 10], [60, 60, 90, 90]])  # IoU 0.5, 0
    ours = {"boxes": boxes, "scores": np.float32([0.9, 0.8, 0.7]), "labels": np.array([0, 0, 1])}

    def compared(rows, limits, **changes):
        here = ours | changes
        return differences([here], [{key: values[rows] for key, values in here.items()}], limits)

    tie = Limits(0.05, 100, overlap=0.50009)
    for sides in (compared([0, 2], tie), compared([0, 2], tie._replace(agnostic=True), labels=np.array([0, 1, 1]))):
        labels, objects, *_ = sides
        assert (labels.ties, objects.ties, labels.agreement) == (1, 1, 1) and not refusals(sides, TOLERANCES["float32"])
    no_ties = [
        compared([0, 2], tie._replace(overlap=0.5002)),  # not at the edge
        compared([0, 2], tie, labels=np.array([0, 1, 1])),  # of another class
        compared([1, 2], tie),  # the better one is not suppressed
        compared([2], tie._replace(overlap=0.0), boxes=boxes + np.float32([[0], [30], [0]])),  # no overlap
        compared([0, 1], tie),
    ]
    for sides in no_ties:
        assert sides[0].ties == 0 and "labels" in " ".join(refusals(sides, TOLERANCES["float32"]))


def test_an_image_with_one_object_each_is_no_edge():
    ours = [{"boxes": np.float32([[0, 0, 10, 10]]), "scores": np.float32([0.9]), "labels": np.array([0])}] * 64
    theirs = [one | {"boxes": one["boxes"] + 50, "labels": np.array([1])} for one in ours]
    assert "labels" in " ".join(refusals(differences(ours, theirs, Limits(0.05, 100)), TOLERANCES["float32"]))
    assert not refusals(differences(ours, theirs, Limits(0.05, 1)), TOLERANCES["float32"])  # either may be the one


def test_masks_of_objects_may_differ_in_ties():
    from pycocotools import mask

    def objects(change: int):
        filled = np.zeros((200, 200), np.uint8, order="F")
        filled[50:100, 50:100] = 1
        filled[:1, :change] = 1
        box = np.float32([[50, 50, 100, 100]])
        return [{"boxes": box, "scores": np.float32([0.9]), "labels": np.array([0]), "rle": [mask.encode(filled)]}]

    assert not refusals(differences(objects(0), objects(3)), TOLERANCES["float32"])
    assert "rle" in refusals(differences(objects(0), objects(30)), TOLERANCES["float32"])[0]
