"""Learning rates that fall while the monitor does not improve."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import lightning as L

from modules.contracts import ConfigError
from modules.training.patience import Patience, unvalidated

if TYPE_CHECKING:
    from tasks.base import Task

SETTING = "optim.schedule is plateau"


class ReduceOnPlateau(L.Callback):
    """Plateau schedule (ReduceLROnPlateau): reduce the learning rate while the task's monitor does not improve.

    The schedules of the task know after how many validations, and by how much. A callback, because it must be over
    before a checkpoint is written after the same validation.
    """

    def __init__(self) -> None:
        self.patience = Patience()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if reason := unvalidated(trainer):
            raise ConfigError(f"{SETTING}, but {reason}, or choose another schedule")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        waited = self.patience.watch(trainer.callback_metrics, pl_module, SETTING)
        for schedule in cast("Task", pl_module).schedules:
            schedule.after_validation(waited)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.patience)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.patience = Patience(**state_dict)
