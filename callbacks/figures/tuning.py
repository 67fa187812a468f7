"""Figures of a hyperparameter search: its history, the importance of settings, and slices along each of them."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from callbacks.figures.base import PLAIN, WRONG, percent, render, shorten, shorten_start, titled
from callbacks.results.tuning import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FINISHED, PRUNED = "#1f5fa8", "#9db7d5"
SLICE = 340
"""Width of one slice in pixels."""
WIDEST = 4
"""Slices beside each other."""


def tuning_history(trials: Sequence[Trial], metric: str, mode: str, title: str) -> np.ndarray:
    """Metric over the number of the trial: finished and pruned trials, failed ones below, the best so far, the default.

    Args:
        trials: of the search, one finished at least.
        metric: log name.
        mode: "max" if higher is better, "min" if lower is.
        title: one line above all.
    """
    figure = titled(860, 480, title)
    axes = figure.add_axes((0.09, 0.19, 0.88, 0.71))
    trials = sorted(trials)
    done = [trial for trial in trials if trial.state == "finished"]
    part = [trial for trial in trials if trial.state == "pruned" and trial.value is not None]
    failed = [trial.number for trial in trials if trial.state == "failed"]
    axes.scatter(*_points(part), color="white", edgecolor=PRUNED, label="pruned, at its last validation", zorder=2)
    axes.scatter(*_points(done), color=FINISHED, label="finished", zorder=3)
    best = (np.maximum if mode == "max" else np.minimum).accumulate(_points(done)[1])
    last = trials[-1].number
    axes.step([*(t.number for t in done), last], [*best, best[-1]], where="post", color=FINISHED, label="best so far")
    if done[0].number == 0:
        axes.axhline(best[0], color="#888888", linestyle="--", label="default (trial 0)", zorder=1)
    if failed:
        place = axes.get_ylim()[0]
        axes.scatter(failed, [place] * len(failed), marker="x", color=WRONG, label="failed", clip_on=False, zorder=3)
    axes.set(xlabel="trial", ylabel=metric)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=5, frameon=False, fontsize=9)
    return render(figure)


def tuning_importance(shares: Mapping[str, float], title: str) -> np.ndarray:
    """Bar chart of the share of the metric's variation that each setting explains, largest on top.

    Args:
        shares: setting -> share, 0..1.
        title: one line above all.
    """
    order = sorted(shares, key=lambda name: -shares[name])
    names = [shorten_start(name, 32) for name in order]
    height, left = 110 + 34 * len(names), (34 + 8 * max(map(len, names))) / 860
    figure = titled(860, height, title)
    axes = figure.add_axes((left, 52 / height, 0.94 - left, 1 - 100 / height))
    for row, name in enumerate(order):
        axes.barh(row, 100 * shares[name], color=FINISHED, height=0.62)
        axes.text(100 * shares[name] + 1, row, f"{percent(shares[name])} %", va="center", fontsize=9, color=PLAIN)
    axes.set_yticks(range(len(names)), names, fontsize=9, parse_math=False)
    axes.set(xlim=(0, 108), ylim=(len(names) - 0.4, -0.6), xlabel="share of the variation between finished trials (%)")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    return render(figure)


def tuning_slices(trials: Sequence[Trial], metric: str, logarithmic: Sequence[str], title: str) -> np.ndarray:
    """Metric over the values of each setting; pruned trials are hollow, darker points are later.

    Args:
        trials: of the search, one finished at least.
        metric: log name.
        logarithmic: settings with a logarithmic axis.
        title: one line above all.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial.settings))
    columns = min(len(names), WIDEST)
    rows = math.ceil(len(names) / columns)
    width, height = max(SLICE * columns + 40, 480), 300 * rows + 40
    figure = titled(width, height, f"{title}; hollow: pruned, dark: late")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    figure.subplots_adjust(72 / width, 52 / height, 1 - 18 / width, 1 - 44 / height, 0.08, 0.34)
    for axes, name in zip(grid.flat, names, strict=False):
        _draw_slice(axes, [t for t in trials if name in t.settings and t.value is not None], name)
        if name in logarithmic:
            axes.set_xscale("log")
            low, high = (
                pick(float(trial.settings[name]) for trial in trials if name in trial.settings) for pick in (min, max)
            )
            ticks = np.geomspace(low, high, 4) if low < high else [low]
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
            axes.get_xticklabels()[-1].set_ha("right")  # off the next panel's first
            axes.set_xticks([], minor=True)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel(metric)
    return render(figure)


def _draw_slice(axes: "Axes", trials: Sequence[Trial], name: str) -> None:
    """Points of one setting: pruned trials are hollow; choices stand side by side."""
    values: list[Any] = [trial.settings[name] for trial in trials]
    if any(isinstance(value, str | bool) or value is None for value in values):
        order = list(dict.fromkeys(sorted(map(str, values))))
        axes.set_xticks(range(len(order)), [shorten(text, 14) for text in order], fontsize=9, parse_math=False)
        axes.set_xlim(-0.6, len(order) - 0.4)
        spread = np.random.default_rng(0).uniform(-0.12, 0.12, len(values))
        values = [order.index(str(value)) + shift for value, shift in zip(values, spread, strict=True)]
    scores = [trial.value for trial in trials]
    age = [trial.number for trial in trials]
    done = np.array([trial.state == "finished" for trial in trials], dtype=bool)
    x, y, c = np.array(values, dtype=float), np.array(scores, dtype=float), np.array(age, dtype=float)
    axes.scatter(x[~done], y[~done], facecolor="white", edgecolor=PRUNED, s=26, zorder=2)
    axes.scatter(
        x[done], y[done], c=c[done], cmap="Blues", vmin=-max(age, default=1), edgecolor="#555555", s=34, zorder=3
    )
    axes.set_xlabel(shorten_start(name, 40), fontsize=9, parse_math=False)
    axes.grid(alpha=0.25)


def _points(trials: Sequence[Trial]) -> tuple[list[int], list[float]]:
    return [trial.number for trial in trials], [trial.value for trial in trials if trial.value is not None]
