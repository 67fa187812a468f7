"""Comparison of variants: statistics, table, files and figure over runs of one task that differ in some settings."""

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
from callbacks.results.finished_run import Run
from callbacks.results.number_format import number, or_null
from callbacks.results.variants import Repeat, Variant
from callbacks.writers.per_class import write_csv
from modules.contracts import GREEDY, DataError, writing


class Row(NamedTuple):
    """One metric of one variant.

    Mean and sample standard deviation over `runs` runs, and mean and standard error of the difference to its
    reference, paired by repetition. Null with too few runs.
    """

    variant: str
    metric: str
    runs: int
    mean: float
    standard_deviation: float | None
    difference: float | None
    standard_error: float | None


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; no deviation of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def paired(values: Mapping[Any, float], reference: Mapping[Any, float]) -> tuple[float | None, float | None]:
    """Mean and standard error of the differences between runs of the same repetition, such as a seed.

    Pairing takes out what a seed does to both: which images keep their labels, their order, the head's first weights.
    """
    shared = [repeat for repeat in values if repeat in reference]
    if not shared:
        return None, None
    mean, deviation = spread([values[repeat] - reference[repeat] for repeat in shared])
    return mean, None if deviation is None else deviation / len(shared) ** 0.5


class Comparison:
    """Collect runs by variant and repetition, and report them.

    Args:
        monitor: log name of the task's main metric; its test value is compared where there is one.
        mode: whether more ("max") or less ("min") of it is better.
        variants: by name.
    """

    def __init__(self, monitor: str, mode: str, variants: Mapping[str, Variant]):
        self.monitor, self.mode, self.variants = monitor, mode, dict(variants)
        self.runs: dict[str, dict[Repeat, Run]] = {name: {} for name in variants}

    def add(self, variant: str, repeat: Repeat, run: Run) -> str:
        """Add a run; returns its main result as text.

        Raises:
            DataError: it was neither validated nor tested.
        """
        test = self._test_metric()
        if not {test, self.monitor} & run.results.keys():
            raise DataError(f"{run.folder} has neither {test} nor {self.monitor}: the data needs a test or val set")
        self.runs[variant][repeat] = run
        return f"{self.metric} {number(run.results[self.metric])}"

    @property
    def metric(self) -> str:
        """Log name of the metric by which the variants are compared."""
        return self._test_metric() if all(self._test_metric() in run.results for run in self._all()) else self.monitor

    def rows(self) -> list[Row]:
        """All metrics that all runs have, the main one first, variant by variant."""
        shared = set.intersection(*(set(run.results) for run in self._all()))
        made = []
        for metric in sorted(shared, key=lambda name: (name != self.metric, not self._same_split(name), name)):
            values = {v: {each: run.results[metric] for each, run in runs.items()} for v, runs in self.runs.items()}
            for name, found in values.items():
                reference = self.variants[name].reference
                difference = paired(found, values[reference]) if reference else (None, None)
                made.append(Row(name, metric, len(found), *spread(list(found.values())), *difference))
        return made

    def write(self, trainer: Trainer) -> None:
        """Write compare.json, compare.csv and figures/compare.png to the trainer's folder, and log the figure."""
        folder, rows = Path(trainer.default_root_dir), self.rows()
        write_csv(folder / "compare.csv", [Row._fields, *rows])
        report = {
            "metric": self.metric,
            "mode": self.mode,
            "protocol": self.protocol(),
            "variants": {
                name: {"settings": variant.settings, "reference": variant.reference}
                for name, variant in self.variants.items()
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
                for name, runs in self.runs.items()
                for repeat, run in runs.items()
            ],
        }
        with writing(folder / "compare.json"):
            (folder / "compare.json").write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
        main = {name: [run.results[self.metric] for run in runs.values()] for name, runs in self.runs.items()}
        curves = {name: [run.curve for run in runs.values()] for name, runs in self.runs.items()}
        log_figure(trainer, "compare", comparison(main, curves, self.metric, self.monitor, self._title()))

    def print_table(self) -> None:
        """Print the table, once every variant has a run: the main metric, and as many others of its split as fit."""
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
        table.add_column("variant", overflow="fold")
        main, *others = (metric.partition("/")[2] for metric in metrics)
        for column in ("runs", main, f"difference\nto {self._reference()}", *others, "epochs", "seconds"):
            table.add_column(column, justify="right", no_wrap=True)
        cells = {(row.variant, row.metric): row for row in rows}
        for name, runs in self.runs.items():
            first, *others = (cells[name, metric] for metric in metrics)
            table.add_row(
                name,
                str(first.runs),
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
        seeds = sorted({repeat.seed for runs in self.runs.values() for repeat in runs})
        better = "higher" if self.mode == "max" else "lower"
        return f"{self.metric} ({better} is better), seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"

    def _reference(self) -> str:
        """Name of the reference; where there are several, the part that they share."""
        labels = [set(self.variants[v.reference].labels.values()) for v in self.variants.values() if v.reference]
        return ",".join(sorted(set.intersection(*labels))) if labels else next(iter(self.variants))

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
