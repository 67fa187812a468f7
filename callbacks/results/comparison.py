"""Comparison of initializations: statistics, table, files and figure over runs of one task from several starts."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch import Trainer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from callbacks.figures.log import log_figure
from callbacks.figures.runs import comparison
from callbacks.results.number_format import number, or_nan, or_null
from callbacks.writers.per_class import write_csv
from modules.contracts import GREEDY, DataError, writing


class Run(NamedTuple):
    """One finished run.

    Args:
        folder: its run directory.
        results: log name -> value, as in its results.json.
        protocols: log name -> protocol of the value.
        curve: (finished epochs, value of the monitor), in order; empty without validation.
        epochs: number of trained epochs.
        seconds: duration; null for an interrupted run, of which only the last part was timed.
    """

    folder: Path
    results: dict[str, float]
    protocols: dict[str, str]
    curve: list[tuple[int, float]]
    epochs: int
    seconds: float | None


class Row(NamedTuple):
    """One metric of one start.

    Mean and sample standard deviation over `seeds` runs, and mean and standard error of the difference to the
    reference, paired by seed. Null with too few seeds.
    """

    start: str
    metric: str
    seeds: int
    mean: float
    standard_deviation: float | None
    difference: float | None
    standard_error: float | None


def read_run(folder: Path, monitor: str) -> Run:
    """Read results.json and metrics.csv of a run directory.

    Raises:
        DataError: one of them is missing or incomplete.
    """
    try:
        report = json.loads((folder / "results.json").read_text())
        with (folder / "metrics.csv").open(newline="") as file:
            logged = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} left no whole results.json and metrics.csv to compare: {error}") from error
    trained = [row for row in logged if row.get("epoch") and not any(row[k] for k in row if k.startswith("test/"))]
    trained = [row for row in trained if int(row["epoch"]) < report.get("epochs", math.inf)]  # no later evaluations
    epochs = [int(row["epoch"]) + 1 for row in trained]
    curve = {epoch: float(row[monitor]) for epoch, row in zip(epochs, trained, strict=True) if row.get(monitor)}
    protocols = {row["metric"]: row["protocol"] for row in report["results"]}
    if weights := report["test weights"].partition(",")[0]:  # behind the comma is the epoch, different in each run
        protocols |= {name: f"{text}; {weights}" for name, text in protocols.items() if name.startswith("test/")}
    return Run(
        folder,
        {row["metric"]: or_nan(row["value"]) for row in report["results"]},
        protocols,
        sorted(curve.items()),
        max(epochs, default=0),
        None if "--ckpt_path" in report["command"] else report["seconds"],
    )


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; no deviation of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> tuple[float | None, float | None]:
    """Mean and standard error of the differences between runs of the same seed.

    Pairing takes out what a seed does to both: which images keep their labels, their order, the head's first weights.
    """
    seeds = [seed for seed in values if seed in reference]
    if not seeds:
        return None, None
    mean, deviation = spread([values[seed] - reference[seed] for seed in seeds])
    return mean, None if deviation is None else deviation / len(seeds) ** 0.5


class Comparison:
    """Collect runs by start and seed, and report them.

    Args:
        monitor: log name of the task's main metric; its test value is compared where there is one.
        mode: whether more ("max") or less ("min") of it is better.
        starts: short name of each start -> its weights. Differences are to `none`, or to the first.
    """

    def __init__(self, monitor: str, mode: str, starts: Mapping[str, str | None]):
        self.monitor, self.mode, self.starts = monitor, mode, dict(starts)
        self.reference = "none" if "none" in starts else next(iter(starts))
        self.runs: dict[str, dict[int, Run]] = {start: {} for start in starts}

    def add(self, start: str, seed: int, run: Run) -> str:
        """Add a run; returns its main result as text.

        Raises:
            DataError: it was neither validated nor tested.
        """
        test = self._test_metric()
        if not {test, self.monitor} & run.results.keys():
            raise DataError(f"{run.folder} has neither {test} nor {self.monitor}: the data needs a test or val set")
        self.runs[start][seed] = run
        return f"{self.metric} {number(run.results[self.metric])}"

    @property
    def metric(self) -> str:
        """Log name of the metric by which the starts are compared."""
        return self._test_metric() if all(self._test_metric() in run.results for run in self._all()) else self.monitor

    def rows(self) -> list[Row]:
        """All metrics that all runs have, the main one first, start by start."""
        shared = set.intersection(*(set(run.results) for run in self._all()))
        made = []
        for metric in sorted(shared, key=lambda name: (name != self.metric, not self._same_split(name), name)):
            values = {s: {seed: run.results[metric] for seed, run in runs.items()} for s, runs in self.runs.items()}
            for start, of_seed in values.items():
                difference = (None, None) if start == self.reference else paired(of_seed, values[self.reference])
                made.append(Row(start, metric, len(of_seed), *spread(list(of_seed.values())), *difference))
        return made

    def write(self, trainer: Trainer) -> None:
        """Write compare.json, compare.csv and figures/compare.png to the trainer's folder, and log the figure."""
        folder, rows = Path(trainer.default_root_dir), self.rows()
        write_csv(folder / "compare.csv", [Row._fields, *rows])
        report = {
            "metric": self.metric,
            "mode": self.mode,
            "protocol": self.protocol(),
            "reference": self.reference,
            "starts": self.starts,
            "comparison": [_nulled(row._asdict()) for row in rows],
            "runs": [
                {
                    "start": start,
                    "seed": seed,
                    "folder": run.folder.relative_to(folder).as_posix(),
                    "results": _nulled(run.results),
                    "epochs": run.epochs,
                    "seconds": run.seconds,
                }
                for start, runs in self.runs.items()
                for seed, run in runs.items()
            ],
        }
        with writing(folder / "compare.json"):
            (folder / "compare.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        main = {start: [run.results[self.metric] for run in runs.values()] for start, runs in self.runs.items()}
        curves = {start: [run.curve for run in runs.values()] for start, runs in self.runs.items()}
        log_figure(trainer, "compare", comparison(main, curves, self.metric, self.monitor, self._title()))

    def print_table(self) -> None:
        """Print the table, once every start has a run: the main metric, and as many others of its split as fit."""
        if not all(self.runs.values()):
            return
        console = Console(highlight=False, markup=False)
        rows = [row for row in self.rows() if self._same_split(row.metric)]
        metrics = list(dict.fromkeys(row.metric for row in rows))
        tables = ((count, self._table(rows, metrics[:count])) for count in range(len(metrics), 0, -1))
        shown, table = next((n, table) for n, table in tables if n == 1 or _width(console, table) <= console.width)
        console.print(table)
        if hidden := metrics[shown:]:
            console.print(f"also in compare.csv: {', '.join(hidden)}", soft_wrap=True)
        paired_by_seed = "; differences ± their standard error, paired by seed" if self._repeated() else ""
        console.print(f"protocol: {self.protocol()}{paired_by_seed}", soft_wrap=True)

    def _table(self, rows: list[Row], metrics: list[str]) -> Table:
        shown = ", mean ± standard deviation" if self._repeated() else ""
        table = Table(title=f"{self._title()}{shown}", title_justify="left")
        table.add_column("start", overflow="fold")
        main, *others = (metric.partition("/")[2] for metric in metrics)
        for column in ("seeds", main, f"difference\nto {self.reference}", *others, "epochs", "seconds"):
            table.add_column(column, justify="right", no_wrap=True)
        cells = {(row.start, row.metric): row for row in rows}
        for start, runs in self.runs.items():
            first, *others = (cells[start, metric] for metric in metrics)
            table.add_row(
                start,
                str(first.seeds),
                _cell(first.mean, first.standard_deviation),
                _cell(first.difference, first.standard_error, "+.4f"),
                *(_cell(row.mean, row.standard_deviation) for row in others),
                _range([run.epochs for run in runs.values()]),
                _range([round(run.seconds) for run in runs.values() if run.seconds is not None]),
            )
        return table

    def protocol(self) -> str:
        """Protocols of the main metric, each different one once."""
        return " | ".join(dict.fromkeys(run.protocols[self.metric] for run in self._all()))

    def _title(self) -> str:
        seeds = sorted({seed for runs in self.runs.values() for seed in runs})
        better = "higher" if self.mode == "max" else "lower"
        return f"{self.metric} ({better} is better), seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"

    def _repeated(self) -> bool:
        return any(len(runs) > 1 for runs in self.runs.values())

    def _all(self) -> list[Run]:
        return [run for runs in self.runs.values() for run in runs.values()]

    def _test_metric(self) -> str:
        return f"test/{self.monitor.partition('/')[2].removesuffix(GREEDY)}"

    def _same_split(self, metric: str) -> bool:
        return metric.partition("/")[0] == self.metric.partition("/")[0]


def _nulled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: or_null(value) if isinstance(value, float) else value for name, value in values.items()}


def _width(console: Console, table: Table) -> int:
    """Unconstrained width of a table in characters."""
    return Measurement.get(console, console.options.update(max_width=9999), table).maximum


def _cell(value: float | None, error: float | None, form: str = ".4f") -> str:
    if value is None:
        return ""
    return number(value, form) + ("" if error is None or math.isnan(error) else f" ±{error:.4f}")


def _range(values: Sequence[int]) -> str:
    """30, 30 -> "30"; 24, 26 -> "24-26"."""
    return "-".join(str(value) for value in dict.fromkeys((min(values), max(values)))) if values else ""
