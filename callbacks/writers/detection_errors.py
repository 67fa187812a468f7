"""Kinds of detection errors (after TIDE) as CSV, text and bar chart."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from callbacks.figures.base import PLAIN, percent, render, titled
from callbacks.writers.per_class import write_csv
from modules.metrics.detection import Report
from modules.metrics.detection_arrays import Kind

MEANING = {
    "class": "right place, wrong class",
    "location": "right class, overlap .1 to .5",
    "both": "wrong class, overlap .1 to .5",
    "duplicate": "found before",
    "background": "nothing there",
    "missed": "not found",
}
"""Short descriptions of the kinds of errors (`modules.metrics.matching.errors`)."""


def write_errors(folder: Path, stage: str, reports: Mapping[Kind, Report]) -> None:
    """Write `<stage>_errors.csv`.

    Count and share of each kind of error, of boxes and of masks, and the score threshold of the counted detections with
    its origin.
    """
    rows = [
        [kind, error, count, share, report.threshold, report.choice]
        for kind, report in reports.items()
        for error, (count, share) in report.errors.items()
    ]
    write_csv(folder / f"{stage}_errors.csv", [["of", "error", "count", "share", "threshold", "choice"], *rows])


def error_lines(stage: str, reports: Mapping[Kind, Report]) -> Iterator[str]:
    """Lines about the errors of boxes and of masks, most frequent error first."""
    for kind, report in reports.items():
        counts = sorted(((count, error) for error, (count, _) in report.errors.items()), key=lambda pair: -pair[0])
        total = sum(count for count, _ in counts)
        shares = ", ".join(f"{error} {percent(count / total)} %" for count, error in counts if count)
        yield (
            f"errors of {kind} with score {report.threshold} ({report.choice}) and more: "
            f"{total:,}{': ' * bool(total)}{shares} (predictions/{stage}_errors.csv)"
        )


def error_bars(reports: Mapping[Kind, Report], title: str) -> np.ndarray:
    """Bar charts of the errors of each kind, of boxes and beside them of masks.

    Args:
        reports: with errors.
        title: one line above all.
    """
    width, height, left = max(440 * len(reports) + 230, 9 * len(title)), 320, 230
    figure, inside = titled(width, height, title), (width - left) / len(reports)
    for place, (kind, report) in enumerate(reports.items()):
        bounds = ((left + place * inside) / width, 0.15, (inside - 30) / width, 0.68)
        axes = figure.add_axes(bounds)
        counts = [count for count, _ in report.errors.values()]
        highest = max(*counts, 1)
        axes.barh(range(len(counts)), counts, color="#1f5fa8", height=0.68)
        for row, (count, share) in enumerate(report.errors.values()):
            text = f"{count:,}" + (f" ({percent(share)} %)" if count else "")
            axes.text(count + 0.015 * highest, row, text, va="center", fontsize=9, color=PLAIN)
        axes.set_yticks(range(len(counts)), [f"{e}: {MEANING[e]}" for e in report.errors] if not place else [])
        axes.set(
            xlim=(0, 1.3 * highest),
            ylim=(len(counts) - 0.4, -0.6),
            xlabel=f"errors of {kind}, score ≥ {report.threshold:.2f}",
        )
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=5)
        axes.tick_params(labelsize=9)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    return render(figure)
