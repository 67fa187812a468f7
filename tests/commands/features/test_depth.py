"""Lines and figures of levels where comparing them means little: a network of one, and values that are all 0."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from commands.features import ascents, command, drawing
from commands.features.depth import Level


def test_levels_whose_probes_are_never_right_are_drawn_without_a_warning():
    found = [Level(4, (8, 8), 1.0, 0.0, 0), Level(8, (4, 4), 1.0, 0.0, 0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawing.depth(found, 0, None, "title").shape == (360, 1050, 3)


@pytest.mark.parametrize(
    ("errors", "end"), [([0.3], "0.300"), ([0.1, 0.3], ", rising"), ([0.3, 0.1], ", not rising at every level")]
)
def test_an_error_rises_only_over_several_levels(monkeypatch, tmp_path, capsys, errors, end):
    image = np.zeros((8, 8, 3), np.uint8)
    levels = [ascents.Inverted([image], error, 0.0) for error in errors]
    monkeypatch.setattr(ascents, "invert", lambda *given: levels)
    parts = {"task": None, "data": None, "split": "val", "said": lambda layer: layer}
    subject = SimpleNamespace(images=torch.zeros(1, 3, 8, 8, dtype=torch.uint8), **parts)
    own = SimpleNamespace(layer="-1", basis="fourier", steps=8)
    work = command.Work(subject, own, ascents.Ascent(), None, tmp_path)
    capsys.readouterr()
    work.inversion()
    assert capsys.readouterr().out.strip().endswith(end)
