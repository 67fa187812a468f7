"""Bar chart of a metric per class."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten, titled

BAR = 24  # pixels a class
MAX_CLASSES = 60  # classes


def class_bars(
    classes: Sequence[str],
    values: np.ndarray,
    counts: np.ndarray,
    palette: Sequence[tuple[int, int, int]],
    title: str,
    metric: str,
    unit: str,
) -> np.ndarray:
    """Horizontal bar chart of a metric per class, best on top, with the mean and each class's share of the counts.

    Args:
        classes: C names; of more than `MAX_CLASSES` the lowest are drawn.
        values: the metric (C,), 0..1; nan for a class without a value, drawn without a bar.
        counts: of each class (C,).
        palette: RGB of each class.
        title: one line above all.
        metric: name of the metric, such as "IoU".
        unit: unit of the counts, such as "pixels".
    """
    present, absent = (np.flatnonzero(chosen) for chosen in (~np.isnan(values), np.isnan(values)))
    order = [*present[np.argsort(-values[present], kind="stable")][-MAX_CLASSES:], *absent][:MAX_CLASSES]
    if len(order) < len(classes):
        title += f"; the {MAX_CLASSES} lowest of {len(classes)} classes"
    names = [shorten(classes[index], 24) for index in order]
    left, width, inside = 34 + 8 * max(map(len, names)), max(860, 9 * len(title)), BAR * len(order)
    height, share = inside + 110, counts / max(counts.sum(), 1)
    figure = titled(width, height, title)
    axes = figure.add_axes((left / width, 52 / height, 1 - (left + 120) / width, inside / height))
    for place, index in enumerate(order):
        value, color = 100 * values[index], [part / 255 for part in palette[index]]
        if np.isnan(value):
            axes.text(0.8, place, "n/a: in no image", va="center", fontsize=9, color="#888888")
        else:
            axes.barh(place, value, color=[color], edgecolor="#555555", linewidth=0.6, height=0.68)
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # hides the line of the mean behind it
            axes.text(value + 1, place, f"{value:.1f} %", va="center", fontsize=9, color=PLAIN, bbox=paper)
        text = f"{100 * share[index]:.2f} %"
        axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color="#666666")
    head = f"of the {unit}"
    axes.text(1.02, -0.9, head, transform=axes.get_yaxis_transform(), va="center", fontsize=9, color="#666666")
    if not np.isnan(values).all():
        mean = 100 * np.nanmean(values)
        axes.axvline(mean, color="#444444", linestyle="--", linewidth=1, zorder=0)
        axes.text(mean, -0.9, f"mean {mean:.1f} %", ha="center", va="center", fontsize=9, color="#444444")
    axes.set_yticks(range(len(order)), names, fontsize=9, parse_math=False)
    axes.set(xlim=(0, 108), ylim=(len(order) - 0.4, -0.6), xlabel=f"{metric} (%)")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    return render(figure)
