"""Learning curves of training and validation, with a verdict in words."""

from pathlib import Path
from time import perf_counter
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from callbacks.figures.learning_curves import learning_curves
from callbacks.figures.log import log_figure
from callbacks.loggers.metrics_csv import MetricsCSV
from callbacks.results.learning_curves import Verdict, read_curves, verdict

PAUSE = 120.0  # seconds between two drawings of a training that goes on


class LearningCurves(Callback):
    """Draw `figures/learning_curves.png`: loss and monitor of training and validation over epochs, and a verdict.

    The verdict says with its evidence whether the run overfits, still improves, has converged, or is alike in training
    and validation. The curves are those of metrics.csv, so that a resumed run has all of them. From two epochs on they
    are drawn after training and, at most every two minutes, between epochs.
    """

    def __init__(self) -> None:
        self.found: Verdict | None = None
        self._drawn = perf_counter()

    @rank_zero_only
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if perf_counter() - self._drawn > PAUSE:
            self._draw(trainer, pl_module)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw(trainer, pl_module)

    def report_lines(self, trainer: Trainer) -> list[str]:
        """The verdict, for the final report."""
        return [f"learning curves: {self.found.text}"] if self.found else []

    def _draw(self, trainer: Trainer, task: Any) -> None:
        path = next((Path(logger.path) for logger in trainer.loggers if isinstance(logger, MetricsCSV)), None)
        if path is None or not path.is_file() or not (curves := read_curves(path)):
            return
        self.found = verdict(curves, task.monitor, task.mode)
        metrics = dict.fromkeys(("loss", task.monitor.partition("/")[2]))
        panels = {
            metric: {name: curves[name] for name in (f"train/{metric}_epoch", f"val/{metric}") if name in curves}
            for metric in metrics
        }
        if max(map(len, curves.values())) > 1:
            shown = {metric: lines for metric, lines in panels.items() if lines}
            log_figure(trainer, "learning_curves", learning_curves(shown, self.found.text, self.found.epoch))
        self._drawn = perf_counter()
