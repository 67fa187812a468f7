"""Figures of each class, worked out by hand."""

import numpy as np
import pytest

from callbacks.per_class import per_class, read_per_class, write_per_class

# rows true, columns predicted: 8 cats (6 right), 4 dogs (3 right), no birds, one of each called a bird
MATRIX = np.array([[6, 1, 1], [0, 3, 1], [0, 0, 0]])


def test_precision_recall_and_f1_of_a_hand_made_matrix():
    figures = per_class(MATRIX)
    assert figures["count"].tolist() == [8, 4, 0]
    assert figures["precision"] == pytest.approx([1.0, 0.75, 0.0])
    assert figures["recall"][:2] == pytest.approx([0.75, 0.75])
    assert np.isnan(figures["recall"][2])
    assert figures["f1"] == pytest.approx([12 / 14, 6 / 8, 0.0])


def test_files_hold_every_class_and_read_back_worst_first(tmp_path):
    write_per_class(tmp_path, "test", per_class(MATRIX), MATRIX, ["cat", "dog", "bird"])
    judged, rows = read_per_class(tmp_path / "test_per_class.csv")
    assert (judged, [row["class"] for row in rows]) == ("f1", ["bird", "dog", "cat"])
    assert (tmp_path / "test_confusion.csv").read_text().splitlines()[1] == "cat,6,1,1"
