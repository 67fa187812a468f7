"""Figure of the faithfulness of explanations."""

import numpy as np

from callbacks.collectors.chosen import evenly
from callbacks.figures.base import distinct, render, shorten, titled
from commands.explain.scores import Faithfulness

TICKS = 5
"""Layers that the axis of random weights names."""


def curves(found: Faithfulness, title: str) -> np.ndarray:
    """Deletion, insertion, and rank correlation with the maps of random weights."""
    panels = [("deletion: low is good", found.deletion), ("insertion: high is good", found.insertion)]
    panels += [("random weights: near 0 is good", found.correlations)] if found.correlations else []
    names = list(found.deletion)
    colors = dict(zip(names, distinct(len(names)), strict=True))
    width = 84 + 350 * len(panels)
    height = 400 + 18 * -(-len(names) // 4)
    figure = titled(width, height, title)
    for number, (heading, lines) in enumerate(panels):
        axes = figure.add_axes(((74 + 350 * number) / width, 110 / height, 285 / width, 230 / height))
        for name, line in lines.items():
            places = np.linspace(0, 100, len(line)) if number < 2 else range(1, len(line) + 1)
            style = "--" if name in ("random", "center") else "-"
            axes.plot(places, line.numpy(), style, marker="" if number < 2 else "o", color=colors[name], label=name)
        axes.set_title(heading, fontsize=10)
        axes.grid(alpha=0.25)
        if number < 2:
            axes.set(xlabel="pixels (%)", ylabel="score" if number == 0 else "")
        else:
            axes.set(ylim=(-1.05, 1.05), xlabel="random from the output to")
            chosen = evenly(len(found.layers), TICKS)
            names = [shorten(found.layers[i].split(".net.")[-1], 12) for i in chosen]
            axes.set_xticks([i + 1 for i in chosen], names)
            axes.tick_params(axis="x", labelsize=7)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, fontsize=9, frameon=False)
    return render(figure)
