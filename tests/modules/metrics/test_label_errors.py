"""Probable label errors: a case by hand, and the ranking of cleanlab on the same probabilities."""

import numpy as np
import pytest

from modules.metrics.label_errors import probable_label_errors


def test_a_label_is_suspect_when_another_class_is_as_probable_as_it_is_for_its_own_samples():
    probabilities = np.array(
        [
            [0.9, 0.1],
            [0.7, 0.3],
            [0.1, 0.9],  # given 0, surely 1: suspect, the least credible
            [0.45, 0.55],  # given 0, rather 1, but less so than samples of 1 are on average
            [0.2, 0.8],
            [0.3, 0.7],
            [0.8, 0.2],  # given 1, as probably 0 as those of 0 are on average: suspect
        ]
    )
    assert probable_label_errors(probabilities, np.array([0, 0, 0, 0, 1, 1, 1])).tolist() == [2, 6]


@pytest.mark.parametrize("classes", [3, 10, 50])
def test_the_ranking_is_cleanlabs(classes):
    find = pytest.importorskip("cleanlab.filter").find_label_issues
    random = np.random.default_rng(classes)
    true = random.integers(0, classes - 1, 1500)  # no sample of the last class
    labels = np.where(random.random(1500) < 0.1, random.integers(0, classes - 1, 1500), true)
    logits = random.normal(size=(1500, classes)) + 3 * np.eye(classes)[true]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rule = {"filter_by": "confident_learning", "return_indices_ranked_by": "self_confidence"}
    expected = find(labels, probabilities, **rule)
    assert len(expected) > 50
    assert probable_label_errors(probabilities, labels).tolist() == expected.tolist()
