"""Confusion matrices of few and of very many classes."""

import numpy as np
import pytest

from callbacks.figures import confusion as drawing
from callbacks.figures.confusion import CHOSEN, NAMED, confusion, draw_confused, grouped
from callbacks.figures.objects import object_palette
from callbacks.figures.overlays import LEGEND, class_legend
from tests.helpers.errors import assert_named


def test_the_most_confused_classes_stay_and_the_others_are_counted_together():
    matrix = np.diag([50, 40, 30, 20])
    matrix[0, 2], matrix[2, 0], matrix[3, 1] = 5, 4, 1
    small, names = grouped(matrix, ["a", "b", "c", "d"], 2)
    assert names[:-1] == ["a", "c"]
    assert_named(names[-1], 2)
    assert small.tolist() == [[50, 5, 0], [4, 30, 0], [0, 0, 61]]


@pytest.mark.parametrize("count", [3, NAMED, 129, 1000])
def test_every_row_has_a_name_and_what_is_left_out_is_said(count, monkeypatch):
    from matplotlib.axes import Axes

    named, titles = [], []
    monkeypatch.setattr(Axes, "set_yticks", lambda axes, ticks, labels, **_: named.append(labels))
    monkeypatch.setattr(drawing, "titled", lambda *args, make=drawing.titled: titles.append(args[2]) or make(*args))
    confusion(np.eye(count, dtype=int), [f"class {i}" for i in range(count)], "title")
    shown = count if count <= NAMED else CHOSEN + 1
    assert len(named[0]) == shown
    assert len(titles) == 1
    assert_named(titles[0], "title", *([CHOSEN, count] if count > NAMED else []))
    assert (titles[0] == "title") == (count <= NAMED)


def test_pairs_that_find_no_place_are_counted(monkeypatch):
    titles = []
    monkeypatch.setattr(drawing, "titled", lambda *args, make=drawing.titled: titles.append(args[2]) or make(*args))
    draw_confused(np.ones((7, 7), int), list("abcdefg"), "pairs", "images")
    assert len(titles) == 1
    assert_named(titles[0], "pairs", 22)


@pytest.mark.parametrize("count", [3, 20, 80, 129, 1000])
def test_no_class_is_nearly_black_and_the_legend_says_how_many_it_leaves_out(count):
    palette = object_palette(count)
    assert len(set(palette)) == count
    assert min(map(max, palette)) > 120
    names = [text for text, _ in class_legend(np.arange(1, count + 1), [str(i) for i in range(count)], palette)]
    most = [str(i) for i in range(max(0, count - LEGEND), count)]
    assert names[: len(most)] == most
    if count > LEGEND:
        assert len(names) == LEGEND + 1
        assert_named(names[-1], count - LEGEND)
    else:
        assert len(names) == count
