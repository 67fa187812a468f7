"""Weight averaging: EMA, and the mean over the last epochs."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from modules.contracts import ConfigError
from modules.training.ema import follow, share_at


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

    @torch.no_grad()
    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._latest_update_step == 0:  # after `setup`, the task may have loaded weights
            for average, current in self._pairs(pl_module):
                average.copy_(current)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step == self._latest_update_step:  # gradients are being accumulated
            return
        self._latest_update_step = step
        share = self.share(trainer)
        if share is not None:
            follow(*zip(*self._pairs(pl_module), strict=True), share)

    def share(self, trainer: L.Trainer) -> float | None:
        """Weight of the current parameters in the average after this optimizer step, 0..1; null skips the update."""
        return share_at(self.decay, trainer.global_step)

    def _pairs(self, pl_module: L.LightningModule) -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of an average and the tensor it follows."""
        ours, theirs = (chain(m.parameters(), m.buffers()) for m in (self._average_model.module, pl_module))
        return zip(ours, theirs, strict=True)


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

    def share(self, trainer: L.Trainer) -> float | None:
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return None
        return 1 / (max(0, trainer.current_epoch - (trainer.max_epochs - self.epochs)) + 1)
