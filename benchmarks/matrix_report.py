"""Tables and heat maps of the transfer matrix."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Cell:
    """A start in a task, as `compare` measured it.

    Args:
        row: the start.
        column: the task.
        metric: log name of what it is judged by.
        mean: of the metric over seeds.
        low: lower end of its interval; null where there is none.
        high: upper end.
        difference: to random weights; null for these.
        difference_low: lower end of its interval.
        difference_high: upper end.
    """

    row: str
    column: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None

    @property
    def distinguishable(self) -> bool:
        """True if the interval of the difference lacks 0."""
        ends = self.difference_low, self.difference_high
        return None not in ends and min(ends) * max(ends) > 0


def said(cell: Cell) -> str:
    """Mean and difference to random weights with its interval, all in points."""
    words = f"{100 * cell.mean:.1f}"
    if cell.difference is None:
        return words
    words += f"\n{100 * cell.difference:+.1f}"
    if cell.difference_low is None or cell.difference_high is None:
        return words
    return f"{words} [{100 * cell.difference_low:+.1f}, {100 * cell.difference_high:+.1f}]"


def markdown(cells: list[Cell]) -> str:
    """The matrix as Markdown; differences that are distinguishable are bold."""
    columns, rows = axes_of(cells)
    found = {(cell.row, cell.column): cell for cell in cells}
    lines = [head("start", columns)]
    for row in rows:
        parts = []
        for cell in (found[row, column] for column in columns):
            mean, _, rest = said(cell).partition("\n")
            parts.append(f"{mean} **{rest}**" if cell.distinguishable else f"{mean} {rest}".strip())
        lines.append(f"| `{row}` | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def correlation_table(found: dict[str, dict[str, tuple[float, int]]]) -> str:
    """Correlations as Markdown, with the number of starts."""
    columns = list(dict.fromkeys(column for one in found.values() for column in one))
    lines = [head("statistic", columns)]
    for statistic, one in found.items():
        parts = [f"{one[column][0]:+.2f} ({one[column][1]})" if column in one else "" for column in columns]
        lines.append(f"| `{statistic}` | " + " | ".join(parts) + " |")
    return "\n".join(lines) + "\n"


def head(first: str, columns: list[str]) -> str:
    """The head of a Markdown table."""
    return f"| {first} | " + " | ".join(columns) + " |\n" + "|---" * (len(columns) + 1) + "|"


def axes_of(cells: list[Cell]) -> tuple[list[str], list[str]]:
    """Columns and rows in their order."""
    return list(dict.fromkeys(cell.column for cell in cells)), list(dict.fromkeys(cell.row for cell in cells))


def draw(cells: list[Cell], title: str, path: Path) -> None:
    """Heat map: color is the difference to random weights, white where it is not distinguishable from 0."""
    columns, rows = axes_of(cells)
    values, words = np.zeros((len(rows), len(columns))), {}
    for cell in cells:
        place = rows.index(cell.row), columns.index(cell.column)
        values[place] = 100 * (cell.difference or 0) if cell.distinguishable else 0
        words[place] = said(cell)
    labels = {cell.column: f"{cell.column}\n{cell.metric.removeprefix('test/')}" for cell in cells}
    names = [labels[column] for column in columns]
    heat_map(
        values, words, rows, names, max(1.0, float(np.abs(values).max())), "points above random weights", title, path
    )


def draw_correlations(found: dict[str, dict[str, tuple[float, int]]], path: Path) -> None:
    """Heat map of rank correlations, with a star where chance gives as much once in twenty times at most."""
    from scipy.stats import t

    rows, columns = list(found), list(dict.fromkeys(column for one in found.values() for column in one))
    values, words = np.zeros((len(rows), len(columns))), {}
    for row, one in found.items():
        for column, (value, starts) in one.items():
            place = rows.index(row), columns.index(column)
            sure = abs(value) * np.sqrt((starts - 2) / max(1e-9, 1 - value**2)) > t.ppf(0.975, starts - 2)
            values[place], words[place] = value, f"{value:+.2f}{' *' * bool(sure)}\n{starts} starts"
    title = "Logged beside pretraining, and transfer; * where chance gives as much once in twenty times at most"
    heat_map(values, words, [row.removeprefix("val/") for row in rows], columns, 1.0, "rank correlation", title, path)


def heat_map(
    values: np.ndarray,
    words: dict[tuple[int, int], str],
    rows: list[str],
    columns: list[str],
    reach: float,
    label: str,
    title: str,
    path: Path,
) -> None:
    """Draw values (rows, columns) as colors from -reach to reach, with words in the cells."""
    from matplotlib.figure import Figure

    figure = Figure((2.2 + 1.75 * len(columns), 1.2 + 0.46 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for (y, x), text in words.items():
        axes.text(x, y, text, ha="center", va="center", size=8)
    image = axes.imshow(values, cmap="RdBu", vmin=-reach, vmax=reach, aspect="auto", alpha=0.7)
    axes.set_xticks(range(len(columns)), columns, size=8)
    axes.set_yticks(range(len(rows)), rows, size=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    figure.colorbar(image, label=label, pad=0.02)
    figure.suptitle(title, size=9)
    figure.savefig(path, dpi=110)
