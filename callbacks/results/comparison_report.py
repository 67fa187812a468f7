"""Report of a comparison: table and verdicts on the screen, files, figures, and summaries of loggers."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from callbacks.figures.log import log_figure, log_table
from callbacks.figures.response import Point, response
from callbacks.figures.runs import Bar, comparison
from callbacks.loggers.fault_tolerant import attempt
from callbacks.results.comparison import Comparison, Row
from callbacks.results.finished_run import Run
from callbacks.results.learning_curves import most_common, read_curves, verdict
from callbacks.results.number_format import number, or_null
from callbacks.terminal import print_line
from callbacks.writers.per_class import write_csv
from modules.contracts import writing

SHORT = 16  # characters of a reference's name in the head of a column


def write(made: Comparison, trainer: Trainer, command: str) -> None:
    """Write compare.json, compare.csv and figures to the trainer's folder; loggers get figures, table, results.

    Args:
        made: the comparison.
        trainer: knows the folder and the loggers.
        command: as typed.
    """
    folder, rows = Path(trainer.default_root_dir), made.rows()
    settings = list(dict.fromkeys(name for variant in made.variants.values() for name in variant.settings))
    lines = [[row.variant, *map(made.variants[row.variant].settings.get, settings), *row[1:]] for row in rows]
    heading = ["variant", *settings, *Row._fields[1:]]
    write_csv(folder / "compare.csv", [heading, *lines])
    report = {
        "command": command,
        "metric": made.metric,
        "mode": made.mode,
        "protocol": made.protocol(),
        "verdicts": made.verdicts(),
        "learning curves": learning_curves(made),
        "variants": {
            name: {"settings": variant.settings, "reference": variant.reference}
            for name, variant in made.variants.items()
        },
        "comparison": [_nulled(row._asdict()) for row in rows],
        "runs": [
            {
                "variant": name,
                **repeat._asdict(),
                "folder": run.folder.relative_to(folder).as_posix(),
                "results": _nulled(run.results),
                "epochs": run.epochs,
                "seconds": run.seconds,
            }
            for name, runs in made.runs.items()
            for repeat, run in runs.items()
        ],
    }
    with writing(folder / "compare.json"):
        (folder / "compare.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    _draw(made, trainer, [row for row in rows if row.metric == made.metric])
    log_table(trainer, "compare", heading, [["" if cell is None else str(cell) for cell in line] for line in lines])
    _summarize(made, trainer, rows)


def _draw(made: Comparison, trainer: Trainer, rows: Sequence[Row]) -> None:
    """`compare`, and for each numeric setting with more than one value `compare_SETTING`."""
    values = {name: [run.results[made.metric] for run in runs.values()] for name, runs in made.runs.items()}
    bars = {row.variant: Bar(values[row.variant], row.mean, row.low, row.high) for row in rows}
    differences = {
        row.variant: Bar([], row.difference, row.difference_low, row.difference_high)
        for row in rows
        if row.difference is not None
    }
    curves = {name: [run.curve for run in runs.values()] for name, runs in made.runs.items()}
    names = {"metric": made.metric, "monitor": made.monitor, "reference": shared_name(made)}
    log_figure(trainer, "compare", comparison(bars, differences, curves, **names, title=made.title()))
    for setting in numeric(made):
        lines: dict[str, list[Point]] = {}
        short = next(iter(made.variants.values())).labels[setting].partition("=")[0]
        for row in rows:
            variant = made.variants[row.variant]
            rest = ",".join(label for name, label in variant.labels.items() if name != setting)
            place = float(variant.settings[setting] or "nan")
            lines.setdefault(rest, []).append(Point(place, row.mean, row.low, row.high))
        figure = response(lines, setting, made.metric, made.title())
        log_figure(trainer, f"compare_{short}", figure)


def learning_curves(made: Comparison) -> dict[str, str]:
    """Verdict on the learning curves of each variant, the most common one of its runs."""
    found = {
        name: [verdict(read_curves(path), made.monitor, made.mode) for path in paths]
        for name, runs in made.runs.items()
        if (paths := [path for run in runs.values() if (path := run.folder / "metrics.csv").is_file()])
    }
    return {name: most_common(verdicts) for name, verdicts in found.items()}


def numeric(made: Comparison) -> list[str]:
    """Varied settings whose values are all numbers."""
    found: dict[str, set[str | None]] = {}
    for variant in made.variants.values():
        for name, value in variant.settings.items():
            found.setdefault(name, set()).add(value)
    return [name for name, values in found.items() if len(values) > 1 and all(map(_is_number, values))]


def shared_name(made: Comparison) -> str:
    """Name of the reference; of several the labels that they share."""
    labels = [made.variants[name].labels.values() for name in made.references]
    shared = [label for label in labels[0] if all(label in others for others in labels)] if labels else []
    return ",".join(shared) or "the reference"


def _summarize(made: Comparison, trainer: Trainer, rows: Sequence[Row]) -> None:
    """Send means and differences with their intervals, and the verdicts, to summaries of loggers that have one."""
    fields = ("mean", "low", "high", "difference", "difference_low", "difference_high")
    numbers = {f"{row.variant}/{row.metric}/{name}": getattr(row, name) for row in rows for name in fields}
    found = {name: value for name, value in numbers.items() if value is not None} | {"verdicts": made.verdicts()}
    for logger in trainer.loggers:
        if hasattr(summary := getattr(getattr(logger, "experiment", None), "summary", None), "update"):
            attempt(logger, partial(summary.update, found))


def print_report(made: Comparison) -> None:
    """Print the table, once every variant has a run, and the verdicts.

    The table has the main metric, and as many others of its split as fit into the terminal.
    """
    if not made.complete:
        return
    console = Console(highlight=False, markup=False)
    rows = [row for row in made.rows() if made.of_split(row.metric)]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    tables = ((count, _table(made, rows, metrics[:count], count > 0)) for count in range(len(metrics), -1, -1))
    shown, table = next((n, table) for n, table in tables if n == 0 or _width(console, table) <= console.width)
    console.print(table)
    if hidden := metrics[max(1, shown) :]:
        print_line(f"also in compare.csv: {', '.join(hidden)}")
    if made.references and len(reference := shared_name(made)) > SHORT:
        print_line(f"reference: {reference}")
    print_line(f"protocol: {made.protocol()}")
    for sentence in made.verdicts():
        print_line(sentence)
    for name, sentence in learning_curves(made).items():
        print_line(f"learning curves of {name}: {sentence}")


def _table(made: Comparison, rows: Sequence[Row], metrics: Sequence[str], times: bool) -> Table:
    """Table of the variants; of the main metric alone and without `times` where no metrics are given."""
    metrics = metrics or [made.metric]
    table = Table(title=f"{made.title()}, mean [95 % interval]", title_justify="left")
    table.add_column("variant", overflow="fold")
    main, *others = (metric.partition("/")[2] for metric in metrics)
    reference = shared_name(made)
    compared = [f"difference\nto {reference if len(reference) <= SHORT else 'reference'}"] if made.references else []
    for column in ("runs", main, *compared, *others, *(("epochs", "seconds") if times else ())):
        table.add_column(column, justify="right", no_wrap=True)
    cells = {(row.variant, row.metric): row for row in rows}
    for name, runs in made.runs.items():
        first, *others = (cells[name, metric] for metric in metrics)
        table.add_row(
            name,
            str(first.runs),
            _cell(first.mean, first.low, first.high),
            *[_cell(first.difference, first.difference_low, first.difference_high, "+.4f")] * len(compared),
            *(_cell(row.mean, row.low, row.high) for row in others),
            *(_times(list(runs.values())) if times else ()),
        )
    return table


def _times(runs: Sequence[Run]) -> tuple[str, str]:
    """Epochs and seconds of the runs, such as "24-26"."""
    return _range([run.epochs for run in runs]), _range([round(run.seconds) for run in runs if run.seconds is not None])


def _cell(value: float | None, low: float | None, high: float | None, form: str = ".4f") -> str:
    """A value, and its interval in a line of its own."""
    if value is None:
        return ""
    ends = "" if low is None or high is None else f"\n[{low:{form}}, {high:{form}}]"
    return number(value, form) + ends


def _range(values: Sequence[int]) -> str:
    """30, 30 -> "30"; 24, 26 -> "24-26"."""
    return "-".join(str(value) for value in dict.fromkeys((min(values), max(values)))) if values else ""


def _width(console: Console, table: Table) -> int:
    """Unconstrained width of a table in characters."""
    return Measurement.get(console, console.options.update(max_width=9999), table).maximum


def _nulled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: or_null(value) if isinstance(value, float) else value for name, value in values.items()}


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False
