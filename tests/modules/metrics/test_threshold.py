"""Score thresholds of each class."""

import numpy as np
import torch

from modules.metrics.threshold import best_of_each, in_words, reaches

RECALL = np.array([0.5, 1.0])


def test_each_class_has_the_score_of_its_own_best_f1():
    precision = np.array([[1.0, 1.0], [1.0, 0.1], [np.nan, np.nan]])
    score = np.array([[0.9, 0.2], [0.8, 0.3], [0.0, 0.0]])  # of the second class all further detections are wrong
    all_of_it, half, none = best_of_each(RECALL, precision, score, 0.45)
    assert all_of_it <= 0.2 and 0.3 < half <= 0.8 and none == 0.45


def test_a_detection_reaches_the_threshold_of_its_class():
    scores, labels = torch.tensor([0.4, 0.4, 0.7]), torch.tensor([0, 1, 1])
    assert reaches(scores, labels, 0.5).tolist() == [False, False, True]
    assert reaches(scores, labels, [0.3, 0.7]).tolist() == [True, False, True]


def test_thresholds_of_classes_are_said_by_their_range():
    assert in_words(0.5) == "0.50"
    assert in_words([0.3, 0.7]).startswith("0.30 to 0.70")
