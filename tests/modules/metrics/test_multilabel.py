"""Average precision and F1 of images with several classes, and their resampled values."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from modules.metrics.bootstrap.items import Items, load
from modules.metrics.bootstrap.tags import of_tags
from modules.metrics.multilabel import average_precision, best_thresholds, summarize

RANDOM = np.random.default_rng(0)
TAGS = RANDOM.random((60, 4)) < [0.5, 0.2, 0.05, 0.3]
SCORES = (0.4 * TAGS + 0.6 * RANDOM.random((60, 4))).round(1).astype(np.float32)  # many are equal
THRESHOLDS = np.array([0.3, 0.5, 0.6, 0.7], np.float32)


@pytest.mark.parametrize("c", range(4))
def test_average_precision_is_that_of_scikit_learn(c):
    expected = average_precision_score(TAGS[:, c], SCORES[:, c])
    assert average_precision(SCORES[:, c], TAGS[:, c]) == pytest.approx([expected], abs=1e-12)


def test_average_precision_of_counted_items_is_that_of_weights():
    counts = RANDOM.integers(0, 4, (3, 60))
    found = average_precision(SCORES[:, 0], TAGS[:, 0], counts)
    expected = [average_precision_score(TAGS[:, 0], SCORES[:, 0], sample_weight=row) for row in counts]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_without_items_has_no_average_precision_and_is_left_out_of_the_mean():
    tags, scores = TAGS.copy(), SCORES
    tags[:, 2] = False
    assert np.isnan(average_precision(scores[:, 2], tags[:, 2])).all()
    rest = [average_precision_score(tags[:, c], scores[:, c]) for c in (0, 1, 3)]
    assert summarize(scores, tags, THRESHOLDS)["map"] == pytest.approx(np.mean(rest))


def test_f1_is_that_of_scikit_learn_at_the_thresholds():
    found = summarize(SCORES, TAGS, THRESHOLDS)
    for name, average in (("f1", "macro"), ("f1_micro", "micro")):
        assert found[name] == pytest.approx(f1_score(TAGS, SCORES >= THRESHOLDS, average=average))
    assert found["f1_half"] == pytest.approx(f1_score(TAGS, SCORES >= 0.5, average="macro"))
    assert found["exact_match"] == ((SCORES >= THRESHOLDS) == TAGS).all(1).mean()


def test_thresholds_have_the_highest_f1_in_hundredths():
    best = best_thresholds(SCORES, TAGS)
    for c in range(4):
        scores = [f1_score(TAGS[:, c], SCORES[:, c] >= np.float32(t / 100)) for t in range(1, 100)]
        assert f1_score(TAGS[:, c], SCORES[:, c] >= best[c]) == max(scores)


def test_of_equal_thresholds_the_middle_is_taken_and_half_for_a_class_that_no_image_has():
    scores = np.array([[0.2, 0.9], [0.8, 0.1]], np.float32)
    assert best_thresholds(scores, np.array([[0, 0], [1, 0]])).tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_resampled_metrics_are_those_of_the_items_as_often_as_they_count(tmp_path):
    columns = {"scores": SCORES, "tags": TAGS.astype(np.uint8), "loss": SCORES[:, 0].astype(np.float64)}
    ids = np.array([str(i) for i in range(60)])
    Items(ids, of_tags(columns, THRESHOLDS)).save(tmp_path / "items.npz")
    counts = RANDOM.integers(0, 3, (2, 60))
    found = load(tmp_path / "items.npz").values(counts)
    for row, number in enumerate(counts):
        expected = summarize(SCORES.repeat(number, 0), TAGS.repeat(number, 0), THRESHOLDS)
        assert {name: found[name][row] for name in expected} == pytest.approx(expected)
    assert found["loss"] == pytest.approx((counts @ columns["loss"]) / counts.sum(1))
