"""Results of an attack where there is nothing to fool: left out in place of a share of no samples."""

from types import SimpleNamespace

import numpy as np
import pytest

from commands.attack.methods import Found
from commands.attack.report import summarize

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
