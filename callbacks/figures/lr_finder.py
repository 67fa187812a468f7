"""Loss over the learning rate of a range test."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import render, titled
from modules.training.range_test import smooth


def lr_finder(rates: Sequence[float], losses: Sequence[float], found: float | None, before: float) -> np.ndarray:
    """Loss over the learning rate of a range test, with the suggestion and the setting until then.

    Args:
        rates: learning rate of each step, ascending.
        losses: of each step; the last may be infinite or nan.
        found: suggested rate; null for none.
        before: setting of `optim.lr`.
    """
    known = np.isfinite(losses)
    x, y = np.asarray(rates)[known], np.asarray(losses)[known]
    figure = titled(760, 460, "Learning-rate range test")
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.77))
    smoothed = smooth(y.tolist())
    axes.plot(x, y, ".", markersize=4, color="#a9b7c6", label="loss of a step")
    axes.plot(x, smoothed, color="#1f5fa8", label="smoothed")
    if found is not None:
        axes.axvline(found, color="#1a7f37", label=f"suggested {found:g}")
    axes.axvline(before, color="#d98200", linestyle=":", label=f"optim.lr until now {before:g}")
    low, first = smoothed.min(), smoothed[: max(1, len(y) // 5)].mean()
    margin = max(first - low, 1e-3 * abs(first), 1e-12)
    axes.set(xscale="log", xlabel="learning rate (optim.lr)", ylabel="train/loss")
    axes.set_ylim(low - 0.25 * margin, first + 1.2 * margin)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower left", framealpha=0.9)
    return render(figure)
