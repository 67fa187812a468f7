"""Weight averaging: EMA, and the mean over the last epochs."""

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging

from modules.contracts import ConfigError
from modules.training.ema import ema_update, warmed_up


def check_averages(ema_decay: float, average_last_epochs: int) -> None:
    """Check the settings of a task's weight averaging.

    Raises:
        ConfigError: a decay outside of [0, 1), fewer than 0 epochs, or both averages at once.
    """
    if not 0 <= ema_decay < 1:
        raise ConfigError(f"model.ema_decay is {ema_decay:g}, but a decay is 0 (off) to below 1: try 0.999")
    if average_last_epochs < 0 or (ema_decay and average_last_epochs):
        raise ConfigError(
            f"model.average_last_epochs is {average_last_epochs} and model.ema_decay {ema_decay:g}: one of them, "
            "and 0 or more epochs"
        )


class MovingAverage(WeightAveraging):
    """EMA of the weights: Lightning's weight averaging without synchronizing with the device.

    Validation uses the averages, and a checkpoint's `state_dict` holds them, with the trained weights beside them for
    resuming. The decay after step t is at most (1 + t) / (10 + t), so that short runs forget their random
    initialization. Batch norm statistics are averaged too; integers are copied.

    Args:
        decay: EMA decay per optimizer step, [0, 1).
    """

    def __init__(self, decay: float):
        super().__init__()
        self.decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._device = trainer.strategy.root_device  # where the module goes only later
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._latest_update_step == 0:  # after `setup`, the task may have loaded weights
            average: Any = self._average_model
            average.module.load_state_dict(pl_module.state_dict())

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step == self._latest_update_step:  # gradients are being accumulated
            return
        self._latest_update_step = step
        decay = self.decay_at(trainer)
        if decay < 1:
            ema_update(self._average_model.module, pl_module, decay)

    def decay_at(self, trainer: L.Trainer) -> float:
        """Share of the average that remains after this optimizer step, 0..1."""
        return warmed_up(self.decay, trainer.global_step)


class EpochAverage(MovingAverage):
    """Mean of the weights of the last epochs, equal to checkpoint averaging (Vaswani et al. 2017, section 6.1).

    In earlier epochs, the current weights.

    Args:
        epochs: number of epochs, >= 1.
    """

    def __init__(self, epochs: int):
        super().__init__(0.0)
        self.epochs = epochs

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and (trainer.max_epochs or 0) < self.epochs:
            raise ConfigError(
                f"model.average_last_epochs is {self.epochs}, but trainer.max_epochs is {trainer.max_epochs}: "
                "train longer"
            )
        super().setup(trainer, pl_module, stage)

    def decay_at(self, trainer: L.Trainer) -> float:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return 1.0
        averaged = max(0, trainer.current_epoch - (trainer.max_epochs - self.epochs))
        return averaged / (averaged + 1)
