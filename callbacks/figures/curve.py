"""Accuracy curves over epochs."""

from collections.abc import Mapping, Sequence

import numpy as np

from callbacks.figures.base import distinct, render, shorten_start, titled


def curve(points: Sequence[tuple[int, float]], chance: float, title: str) -> np.ndarray:
    """Accuracy over epochs, with the untrained accuracy and the chance level marked.

    Args:
        points: (finished epochs, accuracy 0..1) in order; epoch 0 is the model before training.
        chance: chance level, 0..1.
        title: one line above all.
    """
    figure = titled(720, 440, title)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.74))
    epochs, values = [epoch for epoch, _ in points], [100 * value for _, value in points]
    axes.plot(epochs, values, marker="o", markersize=4, color="#1f5fa8", label="accuracy")
    axes.axhline(100 * chance, color="#888888", linestyle="--", label=f"chance {100 * chance:.1f} %")
    if epochs[0] == 0:
        axes.axhline(values[0], color="#d98200", linestyle=":", label=f"before training {values[0]:.1f} %")
    last = epochs[-1], values[-1]
    axes.annotate(f"{values[-1]:.1f} %", last, xytext=(0, 8), textcoords="offset points", ha="center")
    axes.set(xlabel="finished epochs", ylabel="accuracy (%)", ylim=(0, min(1.15 * max(*values, 100 * chance), 104)))
    axes.set_xlim(epochs[0] - 0.04 * (epochs[-1] or 1), 1.06 * (epochs[-1] or 1))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", framealpha=0.9)
    return render(figure)


def curves(lines: Mapping[str, Sequence[tuple[int, float]]], title: str) -> np.ndarray:
    """Accuracies over epochs, each with its first value as a dotted line.

    Args:
        lines: name -> (finished epochs, accuracy 0..1) in order.
        title: one line above all.
    """
    figure = titled(720, 440, title)
    axes = figure.add_axes((0.1, 0.13, 0.87, 0.74))
    for (name, points), color in zip(lines.items(), distinct(len(lines)), strict=True):
        epochs, values = [epoch for epoch, _ in points], [100 * value for _, value in points]
        label = f"{shorten_start(name, 40)}, {values[0]:.1f} to {values[-1]:.1f} %"
        axes.plot(epochs, values, marker="o", markersize=4, color=color, label=label)
        axes.axhline(values[0], color=color, linestyle=":")
    top = max(100 * value for points in lines.values() for _, value in points)
    axes.set(xlabel="finished epochs", ylabel="accuracy (%)", ylim=(0, min(1.15 * top, 104)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.legend(loc="lower right", framealpha=0.9)
    return render(figure)
