"""Metrics of each class against hand-computed values."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score, precision_score, recall_score

from callbacks.writers.per_class import (
    lowest_first,
    per_class,
    per_class_of_objects,
    per_class_of_pixels,
    write_confusion,
    write_per_class,
)
from modules.metrics.detection import Report

# rows true, columns predicted: 8 cats (6 right), 4 dogs (3 right), no birds, one of each called a bird
MATRIX = np.array([[6, 1, 1], [0, 3, 1], [0, 0, 0]])


def test_precision_recall_and_f1_of_a_hand_made_matrix():
    metrics = per_class(MATRIX)
    assert metrics["count"].tolist() == [8, 4, 0]
    assert metrics["precision"] == pytest.approx([1.0, 0.75, 0.0])
    assert metrics["recall"][:2] == pytest.approx([0.75, 0.75])
    assert np.isnan(metrics["recall"][2])
    assert metrics["f1"] == pytest.approx([12 / 14, 6 / 8, 0.0])


def ordered(metrics: dict[str, np.ndarray], classes: list[str]) -> tuple[str, list[str]]:
    main, order = lowest_first(metrics)
    return main, [classes[index] for index in order]


def test_files_hold_every_class_in_order(tmp_path):
    write_per_class(tmp_path, "test", per_class(MATRIX), ["cat", "dog", "bird"])
    write_confusion(tmp_path, "test", MATRIX, ["cat", "dog", "bird"])
    rows = (tmp_path / "test_per_class.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["class", "cat", "dog", "bird"]
    assert ordered(per_class(MATRIX), ["cat", "dog", "bird"]) == ("f1", ["bird", "dog", "cat"])
    assert (tmp_path / "test_confusion.csv").read_text().splitlines()[1] == "cat,6,1,1"


def test_metrics_of_pixels_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    true, said = random.integers(0, 4, 500), random.integers(0, 4, 500)
    metrics = per_class_of_pixels(confusion_matrix(true, said))
    assert metrics["pixels"].tolist() == np.bincount(true).tolist()
    for name, reference in (("iou", jaccard_score), ("accuracy", recall_score), ("precision", precision_score)):
        assert metrics[name] == pytest.approx(reference(true, said, average=None))
    assert metrics["dice"] == pytest.approx(f1_score(true, said, average=None))


def test_a_class_that_neither_truth_nor_prediction_shows_has_no_iou():
    matrix = np.array([[5, 0, 5], [0, 0, 0], [0, 0, 10]])
    metrics = per_class_of_pixels(matrix)
    assert metrics["iou"] == pytest.approx([0.5, np.nan, 10 / 15], nan_ok=True)
    assert ordered(metrics, ["sky", "boat", "road"]) == ("iou", ["sky", "road", "boat"])


def test_objects_are_judged_by_their_masks_where_there_are_some(tmp_path):
    objects, nan = np.array([7, 0, 5]), np.nan
    boxes = Report({"objects": objects, "ap": np.array([0.5, nan, 0.4]), "ap50": np.array([0.6, nan, 0.7])}, {}, {})
    masks = Report({"objects": objects, "ap": np.array([0.2, nan, 0.3]), "ap50": np.array([0.8, nan, 0.9])}, {}, {})
    both = {"boxes": boxes, "masks": masks}
    for reports, order in (({"boxes": boxes}, ["dog", "cat", "emu"]), (both, ["cat", "dog", "emu"])):
        write_per_class(tmp_path, "test", per_class_of_objects(reports), ["cat", "emu", "dog"])
        judged, found = ordered(per_class_of_objects(reports), ["cat", "emu", "dog"])
        assert found == order
    assert judged == "mask_ap"
    rows = (tmp_path / "test_per_class.csv").read_text().splitlines()
    assert rows[:3] == ["class,objects,ap,ap50,mask_ap,mask_ap50", "cat,7,0.5,0.6,0.2,0.8", "emu,0,nan,nan,nan,nan"]
