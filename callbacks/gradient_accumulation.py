"""Accumulation of gradients by a schedule that holds in the middle of an epoch too."""

import lightning as L
from lightning.pytorch.callbacks import GradientAccumulationScheduler


class ResumableAccumulation(GradientAccumulationScheduler):
    """Lightning's GradientAccumulationScheduler, which would resume an epoch with one batch per step.

    Args:
        of: the callback as configured.
    """

    def __init__(self, of: GradientAccumulationScheduler):
        vars(self).update(vars(of))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.on_train_epoch_start(trainer)  # not called for an epoch that is resumed
