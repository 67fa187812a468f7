"""Selection of the best validation: ties, constant monitors, and losses instead."""

import pytest

from callbacks.results.selection import Selection, Validation
from tests.helpers.errors import assert_named


def chosen(scores: list[float], losses: list[float | None] | None = None, mode: str = "max") -> tuple[int, Selection]:
    """Index of the selected validation, and the selection afterward."""
    selection, place = Selection(), -1
    for i, (score, loss) in enumerate(zip(scores, losses or [None] * len(scores), strict=True)):
        if selection.takes(score, mode, loss):
            place = i
    return place, selection


@pytest.mark.parametrize(
    ("mode", "scores", "place"),
    [
        ("max", [0.1, 0.5, 0.3], 1),
        ("min", [0.1, 0.5, 0.05], 2),
        ("max", [0.1, 0.5, 0.3, 0.5], 3),  # the later of two that are equal
        ("min", [0.4, 0.2, 0.2, 0.3], 2),
    ],
)
def test_the_best_is_chosen_and_the_later_of_equal_ones(mode, scores, place):
    assert chosen(scores, mode=mode)[0] == place


def test_a_tie_goes_to_the_later_one_even_if_its_loss_is_higher():
    assert chosen([0.1, 0.5, 0.5], [3.0, 1.0, 2.0])[0] == 2


def test_a_monitor_that_does_not_move_leaves_the_choice_to_the_loss():
    place, selection = chosen([0.0] * 4, [3.0, 1.0, 2.0, 2.5])
    assert place == 1 and selection.constant
    assert chosen([0.0] * 4, [3.0, 1.0, 1.0, 2.5])[0] == 2
    assert chosen([0.0] * 4)[0] == 3  # no loss: the last


def test_once_the_monitor_moves_the_loss_has_no_say():
    place, selection = chosen([0.0, 0.0, 0.2, 0.0], [1.0, 2.0, 9.0, 0.1])
    assert place == 2 and not selection.constant


def test_one_validation_is_no_constant():
    assert not chosen([0.0])[1].constant


def test_a_selection_goes_on_where_it_was_saved():
    _, selection = chosen([0.0, 0.0], [2.0, 1.0])
    again = Selection.of(selection.state_dict())
    assert not again.takes(0.0, "max", 1.5) and again.takes(0.0, "max", 0.5) and again.count == 4
    assert Selection.of({"best": 0.3}).takes(0.3, "max", None)  # of older checkpoints


def test_when_a_validation_was_is_said_with_its_step_within_an_epoch():
    assert_named(Validation(10, 1).when, "epoch 2")
    assert_named(Validation(1_010, 1, within=True).when, "step 1,010", "epoch 2")
