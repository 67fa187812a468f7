"""Precision-recall curves of a detector, with the score threshold of the best F1."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from callbacks.figures.base import PLAIN, render, shorten, titled
from callbacks.figures.overlays import Palette
from modules.metrics.detection import MEASURE, Report
from modules.metrics.detection_arrays import Kind
from modules.metrics.threshold import best_threshold

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CURVES = 8  # classes in a panel


def precision_recall(
    reports: Mapping[Kind, Report], classes: Sequence[str], palette: Palette, title: str
) -> np.ndarray:
    """Precision-recall curves at IoU or OKS .50 and .75, a row per kind, with the threshold of the best F1.

    One curve per class (the `MAX_CURVES` with the most objects) and one for the mean of all.

    Args:
        reports: with curves.
        classes: C names.
        palette: RGB of each class.
        title: one line above all.
    """
    wide, high = 640, 400
    width, height = max(2 * wide, 9 * len(title)), high * len(reports) + 40
    figure = titled(width, height, title)
    for row, (kind, report) in enumerate(reports.items()):
        for column, iou in enumerate(("50", "75")):
            bottom = (height - 40 - (row + 1) * high + 52) / height
            bounds = ((60 + column * wide) / width, bottom, (wide - 290) / width, (high - 80) / height)
            axes = figure.add_axes(bounds)
            curves = (report.curves[name] for name in ("recall", f"precision{iou}", f"score{iou}"))
            _draw_panel(axes, *curves, report.per_class["objects"], classes, palette)
            axes.set_title(f"{kind}, {MEASURE[kind]} .{iou}", fontsize=10, color=PLAIN)
    return render(figure)


def _draw_panel(
    axes: "Axes",
    recall: np.ndarray,
    precision: np.ndarray,
    score: np.ndarray,
    objects: np.ndarray,
    classes: Sequence[str],
    palette: Palette,
) -> None:
    average = precision.mean(1)  # COCO's AP is the mean over its recalls
    present = np.flatnonzero(~np.isnan(average))
    chosen = present[np.argsort(-objects[present], kind="stable")][:MAX_CURVES]
    for index in chosen[np.argsort(-average[chosen], kind="stable")]:
        color = [part / 255 for part in palette[index]]
        label = f"{shorten(classes[index], 18)}: AP {average[index]:.3f}"
        axes.plot(recall, precision[index], color=color, linewidth=1.3, label=label)
    if present.size > 1:
        label = f"mean of {present.size}: AP {average[present].mean():.3f}"
        axes.plot(recall, precision[present].mean(0), color=PLAIN, linewidth=2.4, label=label)
    if best := best_threshold(recall, precision, score):
        label = f"best F1 {best.f1:.3f}: score ≥ {best.threshold:.2f}"
        axes.plot(best.recall, best.precision, "o", color="white", markeredgecolor=PLAIN, markersize=8, label=label)
    if len(present) > MAX_CURVES:
        axes.plot([], [], " ", label=f"({MAX_CURVES} most frequent of {len(present)})")
        if missed := int((average[present] == 0).sum()):
            share = "all" if missed == len(present) else f"{missed} of all"
            axes.plot([], [], " ", label=f"({share} {len(present)} at AP 0)")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    if not present.size:
        axes.text(0.5, 0.5, "n/a: no objects", ha="center", color="#888888")
        return
    for text in axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)
