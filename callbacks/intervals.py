"""The Intervals callback: 95 % bootstrap intervals of the metrics of a test."""

from functools import partial
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.loggers.facts import interval_ends
from callbacks.loggers.fault_tolerant import attempt
from callbacks.results.metrics import Rows, told
from modules.metrics.bootstrap import Estimate, Items, intervals


class Intervals(Callback):
    """Compute 95 % intervals of the metrics of a test, by bootstrap over its items, and write what that takes.

    Other callbacks add statistics of the same items, in the order of the data, by a method `item_statistics`.
    `<run>/predictions/test_items.npz` holds the ids of the items and their sufficient statistics, from which runs on
    the same items are compared in pairs (`modules.metrics.bootstrap`).
    """

    def __init__(self) -> None:
        self.estimates: dict[str, Estimate | None] = {}  # by log name

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.estimates = {}
        records, statistics = (getattr(pl_module, name, None) for name in ("records", "statistics"))
        if records is None or statistics is None:  # a task of another program
            return
        ids, columns = records.gather()
        if not trainer.is_global_zero or not len(ids):
            return
        more = [one for each in told(trainer, "item_statistics") for one in each if len(one) == len(ids)]
        items = Items(ids, [*statistics(columns), *more])
        if not items.statistics:
            return
        items.save(Path(trainer.default_root_dir) / "predictions" / "test_items.npz")
        self.estimates = {f"test/{name}": estimate for name, estimate in intervals(items).items()}

    def metric_intervals(self, trainer: Trainer) -> dict[str, Estimate | None]:
        """Estimates by log name, for the final report."""
        return self.estimates

    def take_results(self, trainer: Trainer, rows: Rows) -> None:
        """Log ends of intervals to all loggers, those of a command with protocols of its own too."""
        if ends := dict(interval_ends(rows)):
            for logger in trainer.loggers if trainer.is_global_zero else ():
                attempt(logger, partial(logger.log_metrics, ends, trainer.global_step))
