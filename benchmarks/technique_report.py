"""Table and figure of `benchmarks.techniques`: differences in accuracy with their 95 % intervals, by group."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.technique_rows import Technique
from modules.metrics.bootstrap import Estimate, Items, difference, mean

UNCLEAR = "not distinguishable"
REACH = 12.0  # points of accuracy that the figure shows to both sides


@dataclass(frozen=True)
class Row:
    """A technique as measured.

    Args:
        technique: its row of the list.
        cost: of a training step over the same without it.
        accuracy: mean over seeds of the runs with the row's options, 0..1.
        difference: with it minus without it.
    """

    technique: Technique
    cost: float
    accuracy: float
    difference: Estimate

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or that the interval contains 0."""
        if not self.difference.distinguishable:
            return UNCLEAR
        return "better" if self.difference.value > 0 else "worse"

    @property
    def points(self) -> tuple[float, float, float]:
        """Difference and ends of its interval in points, 100 times the accuracy."""
        value, low, high = (100 * end for end in self.difference[:3])
        return value, low, high

    @property
    def facts(self) -> dict[str, Any]:
        """The row as JSON."""
        value, *ends = (round(end, 2) for end in self.points)
        about = {"name": self.technique.name, "options": self.technique.options, "kind": self.technique.kind}
        return about | {"cost": self.cost, "accuracy": self.accuracy, "points": value, "interval": ends}


def summarize(technique: Technique, cost: float, runs: Sequence[Items], reference: Sequence[Items]) -> Row | None:
    """The row of a technique from the test items of its runs and the reference's, in the order of their seeds.

    Returns:
        Null where there is no interval.
    """
    pair = (reference, runs) if technique.kind == "removes" else (runs, reference)
    found, accuracy = difference(*pair)["accuracy"], mean(runs)["accuracy"]
    return Row(technique, cost, accuracy.value, found) if found and accuracy else None


def markdown(rows: Sequence[Row]) -> str:
    """The table as Markdown, with a line for each group."""
    lines = ["| technique | options | step | accuracy | difference in points |", "|---|---|---|---|---|"]
    for group, members in groupby(rows, lambda row: row.technique.group):
        lines.append(f"| **{group}** | | | | |")
        for row in members:
            value, low, high = row.points
            without = "without: " if row.technique.kind == "removes" else ""
            what = f"| {row.technique.name} | {without}`{row.technique.options}` | {row.cost:.2f} "
            verdict = f", {UNCLEAR}" if row.verdict == UNCLEAR else ""
            lines.append(f"{what}| {100 * row.accuracy:.1f} % | {value:+.1f} [{low:+.1f}, {high:+.1f}]{verdict} |")
    return "\n".join(lines) + "\n"


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Forest plot: a line for each technique, with its interval; those beyond `REACH` are arrows with their value."""
    from matplotlib.figure import Figure

    colors = {"better": "tab:green", "worse": "tab:red", UNCLEAR: "gray"}
    figure = Figure((7.5, 1 + 0.21 * (len(rows) + len({row.technique.group for row in rows}))), layout="constrained")
    axes, labels, y = figure.subplots(), {}, 0
    for group, members in groupby(rows, lambda row: row.technique.group):
        axes.text(-REACH, y, f" {group}", va="center", weight="bold", size=8)
        axes.axhspan(y - 0.5, y + 0.5, color="0.93", zorder=0)
        y += 1
        for row in members:
            (value, low, high), color = row.points, colors[row.verdict]
            axes.plot([max(low, -REACH), min(high, REACH)], [y, y], color=color)
            inside = max(-REACH, min(REACH, value))
            marker = "o" if inside == value else "<" if value < 0 else ">"
            axes.plot(inside, y, marker, color=color, markersize=5, clip_on=False)
            if inside != value:
                axes.text(0.94 * inside, y, f"{value:+.0f}", ha="left" if value < 0 else "right", va="center", size=7)
            labels[y] = row.technique.name
            y += 1
    axes.axvline(0, color="black", linewidth=1)
    axes.set(
        xlim=(-REACH, REACH), ylim=(y - 0.5, -0.5), xlabel="difference in test accuracy, points, with 95 % interval"
    )
    axes.set_yticks(list(labels), labels.values(), size=8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(title, size=9)
    figure.savefig(path, dpi=100)
