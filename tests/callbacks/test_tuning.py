"""Report of a hyperparameter search: order of trials, the table, figures, and the verdict against the default."""

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import ttest_rel

from callbacks.figures.tuning import tuning_history, tuning_importance, tuning_slices
from callbacks.results.tuning import Trial, best_first, paired_by_seed, trial_rows, trial_table, verdict
from tests.helpers.errors import assert_named

TRIALS = [
    Trial(0, "finished", 0.5, {"model.optim.lr": 0.1, "data.augment": "flip"}, [0.4, 0.5], 10),
    Trial(1, "pruned", 0.9, {"model.optim.lr": 0.2, "data.augment": "none"}, [0.9], 5),
    Trial(2, "failed", None, {"model.optim.lr": 0.3, "data.augment": "none"}, [], 1, "the loss is nan"),
    Trial(3, "finished", 0.7, {"model.optim.lr": 0.4, "data.augment": "flip"}, [0.6, 0.7], 10),
    Trial(4, "unfinished", None, {"model.optim.lr": 0.5, "data.augment": "flip"}, [], 1),
]


def test_finished_trials_come_first_and_the_best_of_them_before_all():
    assert [trial.number for trial in best_first(TRIALS, "max")] == [3, 0, 1, 2, 4]
    assert [trial.number for trial in best_first(TRIALS, "min")] == [0, 3, 1, 2, 4]


def test_the_table_and_its_file_hold_every_trial_and_its_settings():
    console = Console(width=80)
    with console.capture() as said:
        console.print(trial_table(TRIALS, "val/accuracy", "max"))
    assert all(len(line) <= 80 for line in said.get().splitlines())
    assert_named(said.get(), "0.7000", "lr 0.4", "augment flip", "pruned", "failed", "default")
    heading, *rows = trial_rows(TRIALS, "val/accuracy")
    assert heading[:5] == ["trial", "state", "val/accuracy", "model.optim.lr", "data.augment"]
    assert rows[2][-1] == "the loss is nan" and len(rows) == 5


def test_the_interval_of_a_difference_is_that_of_a_paired_t_test():
    ours, theirs = np.random.default_rng(0).normal(0, 1, (2, 6))
    found = paired_by_seed(ours, theirs)
    low, high = ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high))
    more = paired_by_seed(np.tile([0.1, 0.3, 0.0], 20), np.zeros(60))
    assert more.needed is not None and more.needed <= 60 and more.low > 0


@pytest.mark.parametrize(
    ("ours", "mode", "words"),
    [
        ([0.9, 0.91, 0.92], "max", ["beats"]),
        ([0.9, 0.91, 0.92], "min", ["worse"]),
        ([0.1, 0.9, 0.2], "max", ["not distinguishable", "seeds would"]),
        ([0.5, 0.5, 0.5], "max", ["not distinguishable"]),
    ],
)
def test_the_verdict_says_beats_only_where_the_interval_does(ours, mode, words):
    said = verdict(3, mode, paired_by_seed(ours, [0.5, 0.5, 0.5]))
    assert_named(said, "trial 3", "95 %", *words)


def test_figures_take_failed_and_pruned_trials_and_a_single_one():
    for trials in (TRIALS, TRIALS[:1]):
        assert tuning_history(trials, "val/accuracy", "max", "title").std() > 0
        assert tuning_slices(trials, "val/accuracy", ["model.optim.lr"], "title").std() > 0
    assert tuning_importance({"model.optim.lr": 0.9, "data.augment": 0.1}, "title").std() > 0
