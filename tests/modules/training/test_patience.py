"""Count of validations without improvement."""

import math

import pytest

from modules.training.patience import Patience


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_only_a_better_monitor_is_an_improvement(mode, sign):
    patience = Patience()
    assert [patience.update(sign * score, mode) for score in (1, 3, 2, 3, 4, 4, math.nan)] == [0, 0, 1, 2, 0, 1, 2]
    assert patience.best == sign * 4


def test_a_lower_loss_counts_while_the_monitor_does_not_move():
    patience = Patience()
    seen = [patience.update(0.0, "max", loss) for loss in (3.0, 2.0, 2.5, 1.0)]
    assert seen == [0, 0, 1, 0]
    assert [patience.update(score, "max", 0.5) for score in (0.1, 0.1, 0.0)] == [0, 1, 2]


def test_nothing_is_best_of_nan():
    patience = Patience()
    assert [patience.update(math.nan, "max", loss) for loss in (2.0, 1.0)] == [1, 2]
    assert patience.update(0.0, "max", 3.0) == 0
