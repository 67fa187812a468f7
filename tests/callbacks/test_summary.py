"""What the summary says of the classes."""

import numpy as np
import pytest

from callbacks.per_class import per_class, per_class_of_pixels, write_per_class
from callbacks.summary import Summary

MATRIX = np.array([[1_000_000, 200_000, 0], [0, 50_000, 50_000], [0, 0, 0]])


@pytest.mark.parametrize(
    ("figures", "title", "first"),
    [
        (per_class, "Classes, lowest F1 first", ("bird", "0", "0.000", "nan", "0.000")),
        (per_class_of_pixels, "Classes, lowest IoU first", ("bird", "0", "0.000", "nan", "0.000", "0.000")),
    ],
)
def test_the_classes_that_do_worst_are_told_by_the_figure_that_judges_them(tmp_path, capsys, figures, title, first):
    write_per_class(tmp_path / "predictions", "test", figures(MATRIX), MATRIX, ["cat", "dog", "bird"])
    Summary("name", "test", [], 0)._say_classes(tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert " ".join(" ".join(said[:2]).split()).startswith(f"{title} (predictions/test_per_class.csv)")
    cells = [tuple(cell.strip() for cell in line.split("│")[1:-1]) for line in said if line.startswith("│")]
    assert [row[0] for row in cells] == ["bird", "dog", "cat"]
    assert cells[0] == first
    assert cells[2][1] == "1,200,000"
