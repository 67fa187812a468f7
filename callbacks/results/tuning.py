"""Trials of a hyperparameter search: their order, tables of them, and whether the best beats the default."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from callbacks.results.number_format import number
from callbacks.results.uncertainty import student

MOST_SEEDS = 200


class Trial(NamedTuple):
    """One trial of a search.

    Args:
        number: 0 is the default.
        state: `finished`, `pruned`, `failed` or `unfinished`.
        value: the metric; of a pruned trial the last validation's, null without one.
        settings: the values that differ between trials.
        validations: value of the metric at each.
        seconds: duration.
        reason: of a failure.
    """

    number: int
    state: str
    value: float | None
    settings: Mapping[str, Any]
    validations: Sequence[float]
    seconds: float
    reason: str = ""


def best_first(trials: Sequence[Trial], mode: str) -> list[Trial]:
    """Finished trials before pruned, failed and unfinished ones, each kind with the best metric first."""
    states, sign = ("finished", "pruned", "failed", "unfinished"), -1 if mode == "max" else 1
    return sorted(trials, key=lambda t: (states.index(t.state), math.inf if t.value is None else sign * t.value))


def trial_rows(trials: Sequence[Trial], metric: str) -> list[list[Any]]:
    """Rows of a table with a heading; settings that a trial leaves as they are have an empty cell."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    rows: list[list[Any]] = [["trial", "state", metric, *names, "validations", "seconds", "reason"]]
    for trial in trials:
        value = "" if trial.value is None else trial.value
        settings = [trial.settings.get(name, "") for name in names]
        rows.append(
            [trial.number, trial.state, value, *settings, len(trial.validations), round(trial.seconds, 1), trial.reason]
        )
    return rows


def trial_table(trials: Sequence[Trial], metric: str, mode: str) -> Table:
    """Table of trials in the given order; settings are called by the last part of their names, or two where shared."""
    better = "higher" if mode == "max" else "lower"
    table = Table(title=f"Trials by {metric} ({better} is better)", title_justify="left")
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    short = {name: _short(name, names) for name in names}
    for heading in ("trial", metric.partition("/")[2], "state", "seconds"):
        table.add_column(heading, justify="left" if heading == "state" else "right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    for trial in trials:
        state = "default" if trial.number == 0 and trial.state == "finished" else trial.state
        value = "" if trial.value is None else number(trial.value)
        settings = ", ".join(f"{short[name]} {_value(value)}" for name, value in trial.settings.items())
        table.add_row(str(trial.number), value, state, f"{trial.seconds:.0f}", settings)
    return table


def _short(name: str, names: Sequence[str]) -> str:
    *_, section, last = name.split(".")
    return f"{section}.{last}" if sum(other.rpartition(".")[2] == last for other in names) > 1 else last


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Difference(NamedTuple):
    """Mean difference of two settings over seeds, with its 95 % interval by Student's t.

    Args:
        mean: first minus second.
        low: lower end of the interval.
        high: upper end.
        seeds: number of pairs, two or more.
        needed: seeds whose interval, of the same mean and deviation, leaves 0 out; null if more than `MOST_SEEDS`.
    """

    mean: float
    low: float
    high: float
    seeds: int
    needed: int | None


def paired_by_seed(values: Sequence[float], reference: Sequence[float]) -> Difference:
    """Difference of runs to those of a reference with the same seeds, two or more."""
    apart = np.subtract(values, reference)
    mean, variance, seeds = float(apart.mean()), float(apart.var(ddof=1)), len(apart)
    needed = next((n for n in range(2, MOST_SEEDS + 1) if student(variance, n) < abs(mean)), None)
    half = student(variance, seeds)
    return Difference(mean, mean - half, mean + half, seeds, needed)


def verdict(best: int, mode: str, difference: Difference) -> str:
    """Sentence on whether a trial beats the default.

    Args:
        best: number of the trial.
        mode: whether more ("max") or less ("min") of the metric is better.
        difference: of the trial to the default.
    """
    mean, low, high, seeds, needed = difference
    how = f"difference {mean:+.4f} [{low:+.4f}, {high:+.4f}], 95 %, paired over {seeds} fresh seeds"
    if low <= 0 <= high:
        more = f"about {needed} seeds would tell" if needed else "more seeds would hardly tell"
        return f"trial {best} and the default are not distinguishable: {how}; {more}"
    return f"trial {best} {'beats' if (mean > 0) == (mode == 'max') else 'is worse than'} the default: {how}"
