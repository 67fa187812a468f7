"""Early stopping on the task's own monitor."""

from dataclasses import asdict
from typing import Any, cast

import lightning as L

from callbacks.results.number_format import number
from modules.contracts import ConfigError, check_range, counted
from modules.training.patience import Patience, unvalidated


class StopEarly(L.Callback):
    """Early stopping: end the training when the task's monitor has not improved in `patience` validations.

    The same validations as those that choose `best.ckpt` are compared, in the direction (`mode`) of the task; while
    the monitor is constant, a lower loss counts as an improvement, and nan never does. Its count is in the checkpoint:
    a resumed run stops where an uninterrupted one does, and one that has stopped goes on only with more patience, or
    without.

    Args:
        patience: validations without improvement, 1 or more.
    """

    def __init__(self, patience: int):
        check_range("early_stopping", patience, 1)
        self.patience = patience
        self.count, self.best_epoch = Patience(), 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if reason := unvalidated(trainer):
            raise ConfigError(f"early_stopping is {self.patience}, but {reason}, or leave early_stopping out")
        trainer.should_stop |= self.over  # a resumed run that had stopped

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or cast(Any, trainer).fast_dev_run:
            return
        if self.count.watch(trainer.callback_metrics, pl_module, f"early_stopping is {self.patience}") == 0:
            self.best_epoch = trainer.current_epoch + 1
        trainer.should_stop |= self.over and trainer.current_epoch + 1 >= (trainer.min_epochs or 0)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epochs: Any = trainer.fit_loop.epoch_progress.current
        if self.over:  # a checkpoint is written before its epoch is counted
            epochs.completed = epochs.processed

    @property
    def over(self) -> bool:
        """True once the patience is exhausted."""
        return self.count.waited >= self.patience

    def startup_lines(self, trainer: L.Trainer) -> list[str]:
        """Sentence about when the training ends."""
        monitor = trainer.lightning_module.monitor
        patience = counted(self.patience, "validations")
        return [f"ends early after {patience} without a better {monitor} (early_stopping)"]

    def report_lines(self, trainer: L.Trainer) -> list[str]:
        """Sentence about an early end, for the final report."""
        if not self.over:
            return []
        task, best = trainer.lightning_module, "" if self.count.best is None else f" than {number(self.count.best)}"
        since = f" of epoch {self.best_epoch}" if self.best_epoch else ""
        better = "higher" if task.mode == "max" else "lower"
        return [
            f"stopped early after epoch {trainer.current_epoch} of {trainer.max_epochs}: {task.monitor} was not "
            f"{better}{best}{since} in {counted(self.count.waited, 'validations')} (early_stopping {self.patience})"
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"count": asdict(self.count), "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count, self.best_epoch = Patience(**state_dict["count"]), state_dict["best_epoch"]
