"""Report of an export: differences, decisions, metrics, latency and size of PyTorch and of the file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from callbacks.results.number_format import number, or_null
from commands.export.agreement import Difference, Tolerance
from modules.contracts import counted, writing


class Side(NamedTuple):
    """One of both programs.

    Args:
        name: PyTorch, or the format of the file.
        metrics: of the test split, by log name.
        milliseconds: median time of one sample, from its pixels on.
    """

    name: str
    metrics: dict[str, float]
    milliseconds: float


class Report(NamedTuple):
    """All that a gate found.

    Args:
        samples: number of samples that went through both.
        noun: word for them.
        differences: of each key of the predictions.
        sides: PyTorch and the file.
        sizes: bytes of the weights in PyTorch and of the file.
        refused: sentences on what is beyond the tolerance; empty if the file passed.
        precision: of the network in the file.
        tolerance: for that precision.
    """

    samples: int
    noun: str
    differences: Sequence[Difference]
    sides: Sequence[Side]
    sizes: tuple[int, int]
    refused: Sequence[str]
    precision: str
    tolerance: Tolerance

    def rows(self) -> list[tuple[str, str, str]]:
        """Rows of the table: a quantity, that of PyTorch, and that of the file."""
        ours, theirs = self.sides
        rows = []
        for one in self.differences:
            if one.agreement is not None:
                ties = f", {counted(one.ties, 'ties')} left out" if one.ties else ""
                rows.append((f"{one.key}: equal decisions", "", f"{one.agreement:.4%}{ties}"))
            else:
                said = f"{one.largest:.2e} largest, {one.mean:.2e} mean, {one.relative:.2e} relative"
                rows.append((f"{one.key}: difference", "", said))
        rows += [(name, number(value), number(theirs.metrics[name])) for name, value in sorted(ours.metrics.items())]
        rows.append(("milliseconds per sample", f"{ours.milliseconds:.2f}", f"{theirs.milliseconds:.2f}"))
        first, second = (f"{size / 1e6:.2f}" for size in self.sizes)
        rows.append(("megabytes", first, second))
        return rows

    def print(self) -> None:
        """Print the table."""
        counts = f"{counted(self.samples, self.noun)}, {counted(torch.get_num_threads(), 'threads')}"
        title = f"Export in {self.precision}, {counts}"
        table = Table(title=title, title_justify="left")
        for column in ("", *(side.name for side in self.sides)):
            table.add_column(column, justify="left" if not column else "right", overflow="fold")
        for row in self.rows():
            table.add_row(*row)
        Console(highlight=False).print(table)

    def write(self, path: Path, name: str, aside: Path) -> None:
        """Add the report to a JSON file, under the name of the exported file; written in the folder `aside` first."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        known[name] = self.plain()
        with writing(path, "--out"):
            partial = aside / path.name
            partial.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
            partial.replace(path)

    def plain(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "samples": self.samples,
            "precision": self.precision,
            "tolerance": self.tolerance._asdict(),
            "differences": {one.key: one._asdict() for one in self.differences},
            "metrics": {side.name: {key: or_null(v) for key, v in side.metrics.items()} for side in self.sides},
            "milliseconds": {side.name: round(side.milliseconds, 3) for side in self.sides},
            "threads": torch.get_num_threads(),
            "bytes": {side.name: size for side, size in zip(self.sides, self.sizes, strict=True)},
            "refused": list(self.refused),
        }
