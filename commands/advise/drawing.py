"""Drawing of a race as an array."""

from collections.abc import Mapping, Sequence

import numpy as np

from callbacks.figures.base import distinct, render, titled
from commands.advise.judge import Judged


def race_figure(
    curves: Mapping[str, Sequence[Judged]], bases: Mapping[str, Judged], chance: float, title: str
) -> np.ndarray:
    """Linear probe over seconds of training, a line for each candidate from rung to rung, uint8 (H, W, 3).

    Args:
        curves: candidate in words -> results by rung.
        bases: start in words -> its features without training, as dashed lines.
        chance: accuracy of guessing.
        title: one line above all.
    """
    names = sorted(curves, key=lambda name: (-len(curves[name]), -curves[name][-1].probe))
    figure = titled(980, 520, title)
    axes = figure.add_axes((0.07, 0.11, 0.6, 0.78))
    for name, color in zip(names, distinct(len(names)), strict=True):
        points = curves[name]
        values = 100 * np.array([one.probe for one in points])
        ends = 100 * np.array([[one.low for one in points], [one.high for one in points]])
        spread = np.abs(ends - values)
        seconds = [one.seconds for one in points]
        label = f"{name}, {values[-1]:.1f} %"
        axes.errorbar(seconds, values, spread, color=color, marker="o", markersize=4, capsize=2, lw=1.5, label=label)
    for (name, one), dashes in zip(bases.items(), ("--", "-.", ":") * len(bases), strict=False):
        axes.axhline(
            100 * one.probe, color="#555555", ls=dashes, lw=1, label=f"{name}, no training, {100 * one.probe:.1f} %"
        )
    axes.axhline(100 * chance, color="#bbbbbb", ls=":", lw=1, label=f"chance, {100 * chance:.1f} %")
    axes.set(xlabel="seconds of training", ylabel="linear probe on val images (%), with 95 % interval")
    axes.grid(alpha=0.25)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8)
    return render(figure)
