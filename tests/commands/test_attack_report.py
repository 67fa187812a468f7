"""Results of an attack where there is nothing to fool, left out in place of a share of no samples; figures of maps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from commands.attack import drawing
from commands.attack.methods import Found, Shown
from commands.attack.report import summarize
from tests.helpers.errors import assert_named

COLUMNS = {"right": np.zeros((4, 1)), "rounded": np.zeros(4), "true": np.zeros(4, int)}
COLUMNS |= {"size": np.ones(4), "largest": np.ones(4), "relative": np.ones(4), "hit": np.zeros((4, 1))}


@pytest.mark.parametrize("right", [0, 1])
@pytest.mark.parametrize(("target", "metrics"), [(None, {"fooled", "fooled_8bit"}), (1, {"target_rate"})])
def test_shares_of_no_samples_are_left_out(right, target, metrics):
    plan = SimpleNamespace(eps={0.03: "8/255"}, target=target)
    columns = COLUMNS | {"clean": np.full(4, float(right)), "counted": np.full(4, bool(right))}
    results = summarize(Found(plan, "test", True, list("abcd"), columns, []))
    assert metrics.isdisjoint(row.metric for row in results) == (not right)
    assert np.isfinite([row.value for row in results]).all()


@pytest.mark.parametrize(("side", "drawn"), [(8, 200), (600, 200)])
def test_the_figure_of_maps_has_a_legend_of_the_classes_in_them(monkeypatch, side, drawn):
    given = []
    monkeypatch.setattr(drawing, "strips", lambda *args: given.append(args))
    logits = torch.zeros(4, side, side)
    logits[1, :, : side // 2] = 1
    shown = Shown("a.png", torch.rand(3, side, side), torch.zeros(3, side, side), logits, logits.roll(2, 0), logits[0])
    found = Found(SimpleNamespace(), "test", True, ["a.png"], {}, [shown])
    drawing.draw_samples(found, SimpleNamespace(), ["wall", "door", "roof", "sky"], "title")
    (((panels,), headings, captions, entries, _),) = given
    assert [name for name, _ in entries] == ["wall", "door", "sky"]
    assert {panel.shape for panel in panels} == {(drawn, drawn, 3)} and len(panels) == len(headings)
    assert_named(captions[0], "a.png", "change x")
