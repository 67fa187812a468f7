"""Results and learning curve of a finished run, as its run directory holds them."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from callbacks.results.number_format import or_nan
from modules.contracts import DataError


class Run(NamedTuple):
    """One finished run.

    Args:
        folder: its run directory.
        results: log name -> value, as in its results.json.
        protocols: log name -> protocol of the value.
        curve: (finished epochs, value of the monitor), in order; empty without validation.
        epochs: number of trained epochs.
        seconds: duration; null for an interrupted run, of which only the last part was timed.
        intervals: log name -> ends of the 95 % interval over test items, where the run has one.
    """

    folder: Path
    results: dict[str, float]
    protocols: dict[str, str]
    curve: list[tuple[int, float]]
    epochs: int
    seconds: float | None
    intervals: Mapping[str, Sequence[float]] = MappingProxyType({})


def read_run(folder: Path, monitor: str) -> Run:
    """Read results.json and metrics.csv of a run directory.

    Raises:
        DataError: one of them is missing or damaged.
    """
    try:
        report = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
            return _run(folder, monitor, report, list(csv.DictReader(file)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise DataError(
            f"{folder} has no whole results.json and metrics.csv ({said}): delete the folder, and the same command "
            "trains the run again"
        ) from error


def _run(folder: Path, monitor: str, report: dict[str, Any], logged: list[dict[str, str]]) -> Run:
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
        {row["metric"]: row["interval"] for row in report["results"] if row.get("interval")},
    )
