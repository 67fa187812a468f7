"""Precision over recall of a detector, and the score above which its detections are best believed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from callbacks.drawing.figure import PLAIN, render, shorten, titled
from callbacks.drawing.overlays import Palette
from modules.metrics.detection import Report
from modules.metrics.pictures import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 8  # classes in a panel
THRESHOLDS = np.arange(1, 100) / 100


class Best(NamedTuple):
    """The threshold of the highest F1, a mean over classes, with the means of recall and precision there; 0..1."""

    threshold: float
    f1: float
    recall: float
    precision: float


def best_threshold(recall: np.ndarray, precision: np.ndarray, score: np.ndarray) -> Best | None:
    """The score, in hundredths and the same for all classes, from which on detections are to be kept.

    Args:
        recall: (R,) ascending, 0..1.
        precision: (C, R) of each class at these recalls, nan for a class without objects.
        score: (C, R) of the detection that reaches the recall, 0 where none does.

    Returns:
        Null where nothing is found above the lowest threshold.
    """
    judged = ~np.isnan(precision).any(1)
    found = (score[judged, :, None] >= THRESHOLDS).sum(1)  # recalls that are reached at each threshold, (C', T)
    if not found.any():
        return None
    at = (found - 1).clip(0)
    recalls = np.where(found > 0, recall[at], 0)
    precisions = np.where(found > 0, np.take_along_axis(precision[judged], at, 1), 0)
    f1 = (2 * recalls * precisions / (recalls + precisions).clip(1e-12)).mean(0)
    equal = np.flatnonzero(np.isclose(f1, f1.max()))  # the one in the middle is safest
    best = equal[len(equal) // 2]
    return Best(THRESHOLDS[best].item(), *(values[best].item() for values in (f1, recalls.mean(0), precisions.mean(0))))


def precision_recall(
    reports: Mapping[Kind, Report], classes: Sequence[str], palette: Palette, title: str
) -> np.ndarray:
    """Precision over recall at IoU .50 and .75, of boxes and below them of masks: of each class, of more than `MOST`
    those of the lowest AP, and their mean, with the threshold of the best F1.

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
            _draw_panel(axes, *curves, classes, palette)
            axes.set_title(f"{kind}, IoU .{iou}", fontsize=10, color=PLAIN)
    return render(figure)


def _draw_panel(
    axes: "Axes",
    recall: np.ndarray,
    precision: np.ndarray,
    score: np.ndarray,
    classes: Sequence[str],
    palette: Palette,
) -> None:
    average = precision.mean(1)  # COCO's AP is the mean over its recalls
    judged = np.flatnonzero(~np.isnan(average))
    for index in judged[np.argsort(average[judged], kind="stable")][:MOST]:
        colour = [part / 255 for part in palette[index]]
        label = f"{shorten(classes[index], 18)}: AP {average[index]:.3f}"
        axes.plot(recall, precision[index], color=colour, linewidth=1.3, label=label)
    if judged.size > 1:
        label = f"mean of {judged.size}: AP {average[judged].mean():.3f}"
        axes.plot(recall, precision[judged].mean(0), color=PLAIN, linewidth=2.4, label=label)
    if best := best_threshold(recall, precision, score):
        label = f"best F1 {best.f1:.3f}: score ≥ {best.threshold:.2f}"
        axes.plot(best.recall, best.precision, "o", color="white", markeredgecolor=PLAIN, markersize=8, label=label)
    if len(judged) > MOST:
        axes.plot([], [], " ", label=f"({MOST} lowest of {len(judged)} classes)")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    if not judged.size:
        axes.text(0.5, 0.5, "n/a: no objects", ha="center", color="#888888")
        return
    for text in axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)
