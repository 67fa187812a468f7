"""Figures of `inspect`: costs of blocks, signals through the layers, spectrum of the Hessian."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten_start, titled
from commands.inspect.report import Block, weighted
from modules.insight.hessian import Curvature
from modules.insight.watch import Layer

COLORS = ("#1f5fa8", "#d98200", "#1a7f37")
States = dict[str, list[Layer]]
"""Layers of each state of the network, such as initialization and after training."""


def costs(found: Sequence[Block], samples: int, title: str) -> np.ndarray:
    """Parameters, memory and MACs of blocks as horizontal bars beside each other."""
    height = 22 * len(found) + 110
    figure = titled(1100, height, title)
    panels = {
        "parameters (thousands)": [block.parameters / 1e3 for block in found],
        "memory of the batch (MB)": [block.memory / 1e6 for block in found],
        "MACs of a sample (millions)": [block.macs / samples / 1e6 for block in found],
    }
    for number, ((name, values), color) in enumerate(zip(panels.items(), COLORS, strict=True)):
        axes = figure.add_axes((0.24 + 0.255 * number, 40 / height, 0.235, 22 * len(found) / height))
        places = range(len(found))
        axes.barh(places, values, color=color, height=0.7)
        for place, value in zip(places, values, strict=True):
            share = f" {100 * value / sum(values):.0f} %" if sum(values) else ""
            axes.text(value, place, share, va="center", fontsize=8, color=PLAIN)
        names = [shorten_start(block.name or "(outside of layers)", 34) for block in found]
        axes.set_yticks(places, names if number == 0 else [], fontsize=8)
        axes.set(ylim=(len(found) - 0.4, -0.6), xlim=(0, 1.2 * max(values) or 1))
        axes.set_title(name, fontsize=10)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="x", alpha=0.25)
    return render(figure)


def signals(states: States, title: str) -> np.ndarray:
    """Spread of activations, gradients, and dead ReLU channels by layer, a line for each state."""
    figure = titled(1000, 760, title)
    panels = {
        "std of outputs": lambda one: one.std,
        "gradient by outputs": lambda one: one.gradient,
        "gradient / weights": lambda one: (one.weight_gradient or np.nan) / one.weight_norm,
    }
    names = list(dict.fromkeys(one.name for layers in states.values() for one in layers if one.trained and one.std))
    for number, (name, value) in enumerate(panels.items()):
        axes = figure.add_axes((0.09, 0.75 - 0.215 * number, 0.88, 0.19))
        for (state, layers), color in zip(states.items(), COLORS, strict=False):
            found = {one.name: value(one) for one in weighted(layers)}
            axes.plot([found.get(name, np.nan) for name in names], ".-", color=color, label=state)
        axes.set(yscale="log", xlim=(-0.5, len(names) - 0.5))
        axes.set_ylabel(name, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.tick_params(which="minor", labelleft=False)
        axes.grid(alpha=0.25)
        if number == 0:
            axes.legend(fontsize=9, framealpha=0.9)
        if number < len(panels) - 1:
            axes.set_xticklabels([])
        else:
            axes.set_xlabel("trained layer, in the order of the forward pass; a gap: no gradient", fontsize=9)
    axes = figure.add_axes((0.09, 0.07, 0.88, 0.13))
    for number, (layers, color) in enumerate(zip(states.values(), COLORS, strict=False)):
        shares = [100 * one.dead / one.relus for one in layers if one.relus]
        axes.bar(np.arange(len(shares)) + 0.4 * number - 0.2, shares, 0.4, color=color)
    axes.set(ylim=(0, 100))
    axes.set_ylabel("dead ReLUs (%)", fontsize=8)
    axes.set_xlabel("layer with a ReLU", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", alpha=0.25)
    return render(figure)


def spectra(found: dict[str, Curvature], title: str) -> np.ndarray:
    """Spectral density of the Hessian of each state, its outer eigenvalues marked, one panel above the other."""
    height = 60 + 240 * len(found)
    figure = titled(900, height, title)
    for number, (state, one) in enumerate(found.items()):
        axes = figure.add_axes((0.1, (height - 270 - 240 * number + 55) / height, 0.87, 160 / height))
        values, weights = one.eigenvalues.numpy(), one.weights.numpy()
        reach = max(values[-1] - values[0], 1e-12)
        grid = np.linspace(values[0] - 0.05 * reach, values[-1] + 0.05 * reach, 800)
        bells = np.exp(-(((grid[:, None] - values) / (0.01 * reach)) ** 2) / 2) / (0.01 * reach * (2 * np.pi) ** 0.5)
        axes.fill_between(grid, np.maximum(bells @ weights, 1e-12), 1e-12, color=COLORS[0], alpha=0.5)
        axes.plot(values, np.full(len(values), 0.02), "|", color=COLORS[1], transform=axes.get_xaxis_transform())
        axes.axvline(0, color="#888888", linewidth=1)
        axes.set(yscale="log", ylim=(1e-8 / reach, None), xlim=(grid[0], grid[-1]))
        axes.set_title(f"{state}: {one.smallest:.3g} to {one.largest:.3g}", fontsize=10)
        axes.set_ylabel("density (estimate)", fontsize=8)
        axes.set_xlabel("eigenvalue", fontsize=8)
        axes.tick_params(labelsize=8)
    return render(figure)
