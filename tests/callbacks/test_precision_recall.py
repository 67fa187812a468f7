"""Precision-recall curves and the threshold of the best F1."""

import numpy as np
import pytest
import torch

from callbacks.figures.precision_recall import MAX_CURVES, precision_recall
from modules.metrics.detection import DetectionScores
from modules.metrics.threshold import best_threshold
from tests.helpers.errors import assert_named


def scored(found, classes=1):
    """Report of ten images, each with an object of each class; `found`: (image, score, right) per class."""
    scores, box, far = DetectionScores(classes), torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[50.0, 50, 60, 60]])
    for i in range(10):
        here = [(score, right, label) for label, of in enumerate(found) for at, score, right in of if at == i]
        boxes = torch.cat([torch.zeros(0, 4), *(box if right else far for _, right, _ in here)])
        answer = {
            "boxes": [boxes],
            "scores": [torch.tensor([score for score, *_ in here])],
            "labels": [torch.tensor([label for *_, label in here], dtype=torch.int64)],
        }
        true = torch.arange(len(found))
        truth = {"boxes": box.expand(len(true), 4), "labels": true, "crowd": true < 0, "area": 100.0 + 0 * true}
        scores.update(answer, [truth])
    scores.compute()
    return scores.reports["boxes"]


def best(report, iou="50"):
    return best_threshold(*(report.curves[name] for name in ("recall", f"precision{iou}", f"score{iou}")))


def test_the_threshold_lies_between_what_is_right_and_what_is_wrong():
    """Eight hits, then ten false alarms, then the last two hits."""
    right = [(i, 0.9 - i / 50, True) for i in range(8)] + [(8, 0.2, True), (9, 0.19, True)]
    found = best(scored([[*right, *((i, 0.3, False) for i in range(10))]]))
    assert 0.3 < found.threshold <= 0.76
    assert found[1:] == pytest.approx((2 * 0.8 / 1.8, 0.8, 1.0))


def test_one_threshold_serves_all_classes():
    """Alone, the first is best from .2 on (F1 1) and the second from .8 on (F1 1; below .6 it is 2/3)."""
    first = [(i, 0.2, True) for i in range(10)]
    second = [(i, 0.8, True) for i in range(10)] + [(i, 0.6, False) for i in range(10)]
    found = best(scored([first, second], classes=3))
    assert found.threshold <= 0.2
    assert found.f1 == pytest.approx(1.0)  # precision is the highest at this recall or a higher one, as in COCO


def test_the_f1_of_random_detections_is_what_counting_says():
    random = np.random.default_rng(0)
    found = [(i % 10, float(random.random()), bool(random.random() < 0.5) and i < 10) for i in range(40)]
    report = scored([found])
    counted = []
    for threshold in np.arange(1, 100) / 100:
        kept = [right for _, score, right in found if score >= threshold]
        recall, precision = sum(kept) / 10, sum(kept) / max(len(kept), 1)
        counted.append(2 * recall * precision / max(recall + precision, 1e-12))
    assert best(report).f1 == pytest.approx(max(counted), abs=0.02)


def test_nothing_found_has_no_threshold():
    assert best(scored([[]])) is None
    assert best(scored([[(0, 0.005, True)]])) is None


def test_of_many_classes_the_most_frequent_are_drawn_and_the_others_counted(monkeypatch):
    hits = [[(i, 0.9, i < count) for i in range(10)] for count in range(11)]
    legends = drawn_legends(monkeypatch, scored(hits, classes=12), [f"c${i}" for i in range(12)])
    assert len(legends) == 2
    names = [text.split(":")[0] for text in legends[0]]
    # all have ten objects: the highest AP first
    assert names[:MAX_CURVES] == [f"c${i}" for i in reversed(range(MAX_CURVES))]
    mean, best_f1, chosen, without = names[MAX_CURVES:]
    assert_named(mean, 11)
    assert_named(best_f1, "F1")
    assert_named(chosen, MAX_CURVES, 11)
    assert_named(without, 1, "AP 0")


@pytest.mark.parametrize(("right", "said"), [([], "all 11 "), ([0], "10 of all 11 ")])
def test_classes_of_which_nothing_is_found_are_counted(monkeypatch, right, said):
    report = scored([[(i, 0.9, label in right) for i in range(10)] for label in range(11)], 11)
    legends = drawn_legends(monkeypatch, report, [str(label) for label in range(11)])
    assert legends[0][-1].startswith(f"({said}")


def drawn_legends(monkeypatch, report, classes):
    from matplotlib.axes import Axes

    legends, original = [], Axes.legend

    def watched(axes, *args, **kwargs):
        legend = original(axes, *args, **kwargs)
        legends.append([text.get_text() for text in legend.get_texts()])
        return legend

    monkeypatch.setattr(Axes, "legend", watched)
    precision_recall({"boxes": report}, classes, [(10 * i, 0, 200) for i in range(len(classes))], "$ title")
    return legends


def test_each_kind_has_a_row_and_each_class_its_color():
    report = scored([[(i, 0.9, i % 2 == 0) for i in range(10)]])
    boxes = precision_recall({"boxes": report}, ["a"], [(200, 10, 30)], "t")
    both = precision_recall({"boxes": report, "masks": report}, ["a"], [(200, 10, 30)], "t")
    assert (boxes.shape, both.shape) == ((440, 1280, 3), (840, 1280, 3))
    assert (boxes == (200, 10, 30)).all(2).sum() > 100


def test_without_objects_there_are_panels_that_say_so():
    scores = DetectionScores(1)
    scores.compute()
    drawn = precision_recall(scores.reports, ["a"], [(200, 10, 30)], "t")
    assert not (drawn == (200, 10, 30)).all(2).any()
    gray = (drawn == 0x88).all(2)  # the words
    assert gray[:, :640].any()
    assert gray[:, 640:].any()
