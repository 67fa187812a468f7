"""Report of one run: of fit, validate, test or evaluate."""

import csv
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callbacks.results.learning_curves import read_curves
from callbacks.results.number_format import bounds, number, or_nan
from callbacks.results.table import ORDER, parts_of, shared_parts
from commands.next_commands import command_line
from commands.page import Code, Section, Table
from commands.report.reading import configuration, csv_table, facts, figures, read_json
from modules.contracts import GREEDY, DataError

Row = dict[str, Any]

USUAL = ("accuracy", "map", "map50", "miou", "bleu", "cider", "fid", "knn")
"""Metrics by which runs without a `monitor` in their results.json are called."""


def run_report(folder: Path) -> tuple[str, str, list[Section]]:
    """Title, main result and sections of a run's page."""
    report = read_json(folder / "results.json")
    rows, command = report["results"], report["command"]
    title = f"{'/'.join(folder.resolve().parts[-2:])}: {' '.join(command[2:3])}"
    others = report.get("results of other weights") or []
    results = Section("Results", [results_table(rows)], lines=[weights_line(report)])
    results.lines += interval_lines(rows)
    if others:
        results.lines.append("Of other weights, in the second table: these were validated, not chosen.")
        results.tables.append(results_table(others, weights=True))
    notes = Section("Notes", lines=[str(note) for note in report.get("notes", ())])
    for name in ("skipped", "dropped"):
        if (path := folder / f"{name}.txt").is_file():
            notes.lines.append(f"{len(path.read_text(errors='replace').splitlines()):,} lines in {path.name}")
    sections = [results, protocol(rows), notes, figures(folder), per_class(folder), epochs(folder)]
    sections += [reproduce(folder, report), configuration(folder, "config.yaml"), facts(report)]
    return title, said(headline(report)), sections


def headline(report: dict[str, Any]) -> Row:
    """The row that a run is judged by: of the task's monitor, of the test split where it has that."""
    rows = {row["metric"]: row for row in report["results"]}
    monitor = str(report.get("monitor", "")).partition("/")[2].removesuffix(GREEDY)
    names = (f"{split}/{name}" for name in (monitor, *USUAL) for split in ("test", "val"))
    return next((rows[name] for name in names if name in rows), report["results"][0])


def said(row: Row) -> str:
    """A result in words: metric, value and interval."""
    ends = row.get("interval")
    return f"{row['metric']} {number(or_nan(row['value']))}" + (f", 95 % interval {bounds(*ends)}" if ends else "")


def results_table(rows: Sequence[Row], weights: bool = False) -> Table:
    """A line for each metric, a column for each split, intervals below the values.

    Args:
        rows: of a results.json.
        weights: name the weights of each line.
    """
    splits = sorted({_split(row) for row in rows}, key=ORDER.index)
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        key = (row.get("weights", "") if weights else "", row["metric"].partition("/")[2])
        lines.setdefault(key, {})[_split(row)] = row
    cells = [
        [*([key[0]] if weights else []), key[1], *(_cell(found.get(split)) for split in splits)]
        for key, found in lines.items()
    ]
    return Table([*(["weights"] if weights else []), "metric", *splits], cells)


def _split(row: Row) -> str:
    return row["metric"].partition("/")[0]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    ends = row.get("interval")
    return number(or_nan(row["value"])) + (f"\n{bounds(*ends)}" if ends else "")


def weights_line(report: dict[str, Any]) -> str:
    """Weights and seed of the results."""
    weights = report.get("test weights") or report.get("evaluated weights")
    return f"Seed {report.get('seed')}" + (f", {weights}." if weights else ".")


def interval_lines(rows: Sequence[Row]) -> list[str]:
    """Sentences on the intervals: over how many items, and why test metrics have none."""
    items = sorted({row["items"] for row in rows if row.get("interval")})
    counts = " or ".join(f"{count:,}" for count in items)
    lines = [f"In brackets the 95 % interval, a bootstrap over the {counts} items of the test."] if items else []
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if _split(row) == "test" and (reason := row.get("no interval")):
            reasons.setdefault(reason, []).append(row["metric"].partition("/")[2])
    lines += [f"{', '.join(names)} of the test: no interval, because {why}." for why, names in reasons.items()]
    return lines


def protocol(rows: Sequence[Row]) -> Section:
    """The protocol behind each number: what all metrics of a split share, then a line for each metric."""
    section, own = Section("Protocol"), dict[str, dict[str, str]]()
    for split in ORDER:
        texts = {row["metric"].partition("/")[2]: row["protocol"] for row in rows if _split(row) == split}
        shared = shared_parts([*texts.values()])
        if shared:
            section.lines.append(f"{split}: {'; '.join(shared)}.")
        for metric, text in texts.items():
            own.setdefault(metric, {})[split] = "; ".join(part for part in parts_of(text) if part not in shared)
    lines = []
    for metric, texts in own.items():
        alike = len(set(texts.values())) == 1
        named = {metric: next(iter(texts.values()))} if alike else {f"{s}/{metric}": text for s, text in texts.items()}
        lines += [[name, text] for name, text in named.items() if text]
    if lines:
        section.tables.append(Table(["metric", "protocol"], lines))
    return section


def per_class(folder: Path) -> Section:
    """Metrics of each class, of the test split where it has that."""
    section = Section("Classes")
    for split in ("test", "val"):
        if not section.tables and (table := csv_table(folder / "predictions" / f"{split}_per_class.csv")):
            section.tables.append(table)
            section.lines.append(f"Of the {split} split, from predictions/{split}_per_class.csv.")
    return section


def epochs(folder: Path) -> Section:
    """Validation metrics and mean training losses of each epoch."""
    path, section = folder / "metrics.csv", Section("Epochs", folded=True)
    try:
        curves = {name: dict(curve) for name, curve in (read_curves(path) if path.is_file() else {}).items()}
    except (ValueError, AttributeError, TypeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}; remove it to leave it out") from error
    if curves:
        numbers = sorted({epoch for curve in curves.values() for epoch in curve})
        rows = [[str(n), *(number(or_nan(curve.get(n))) for curve in curves.values())] for n in numbers]
        section.tables.append(Table(["epoch", *curves], rows))
    return section


def reproduce(folder: Path, report: dict[str, Any]) -> Section:
    """Commands that make the run again, and those that use it."""
    typed, words = report["command"], ["The command as typed"]
    lines = [shlex.join(typed)]
    if typed[2:3] == ["fit"] and (folder / "config.yaml").is_file():
        words.append("the same from the run's own configuration")
        lines.append(command_line("fit", "--config", str(folder / "config.yaml")))
    if (folder / "checkpoints").is_dir():
        words.append("its weights tested again")
        lines.append(command_line("test", "--ckpt_path", str(folder)))
    return Section("To reproduce", lines=[f"{'; '.join(words)}:"], code=[Code(line) for line in lines])
