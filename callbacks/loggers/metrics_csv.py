"""metrics.csv: every logged number, one row per step that logged something."""

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.results.number_format import short
from modules.contracts import DataError, writing

REMEDY = "mend it, or move it away; the run then begins a new one where it goes on"


class MetricsCSV(Logger):
    """Logger that writes `metrics.csv` to the run directory; a resumed run continues the file at its checkpoint.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: str):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self.columns: list[str] = ["step"]
        self.rows = 0
        self.pending: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        step = None if step is None else int(step)  # what a task logs as `step` and `epoch` comes as floats
        metrics = {name: short(value) if isinstance(value, float) else value for name, value in metrics.items()}
        metrics |= {"epoch": int(metrics["epoch"])} if "epoch" in metrics else {}
        if (
            self.pending
            and self.pending[-1]["step"] == step
            and not metrics.keys() & (self.pending[-1].keys() - {"epoch"})
        ):
            self.pending[-1] |= metrics
            return
        self.rows += 1
        self.pending.append({"step": step, **metrics})
        if len(self.pending) >= 50:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Append pending rows; a new column rewrites the file."""
        if not self.pending:
            return
        fresh = [k for row in self.pending for k in row if k not in self.columns]
        with writing(self.path):
            if fresh or not self.path.exists():
                self.columns += sorted(set(fresh))
                self._rewrite([*self._read(), *self.pending])
            else:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    csv.DictWriter(file, self.columns).writerows(self.pending)
        self.pending = []

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def rewind(self, rows: int) -> None:
        """Drop all but the first rows, i.e. those logged after the checkpoint that training resumes from.

        Raises:
            DataError: the file is no table of that many whole rows.
        """
        kept = self._read()[:rows]
        for number, row in enumerate(kept, start=2):
            if None in row or None in row.values() or "step" not in row:
                raise DataError(f"{self.path}, line {number} does not have a cell for each column of line 1: {REMEDY}")
        self.columns, self.rows = list(kept[0]) if kept else ["step"], len(kept)
        if self.path.exists():
            with writing(self.path):
                self._rewrite(kept)

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                return list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{self.path} is no table ({error}): {REMEDY}") from error

    def _rewrite(self, rows: list[dict[str, Any]]) -> None:
        partial = self.path.with_suffix(".tmp")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(rows)
        partial.replace(self.path)
