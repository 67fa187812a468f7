"""Gradient accumulation that changes between epochs: steps of a training, and batches of its first ones."""

from math import ceil, isfinite

import lightning as L
from lightning.pytorch.callbacks import GradientAccumulationScheduler


def total_steps(trainer: L.Trainer) -> int:
    """Optimizer steps of a training, which Lightning counts as if every epoch accumulated as the first one does."""
    steps, scheduler, batches = trainer.estimated_stepping_batches, _scheduler(trainer), trainer.num_training_batches
    epochs = trainer.max_epochs or -1
    if scheduler is None or not isfinite(batches) or not isfinite(steps) or epochs < 0:
        return int(steps)
    every = [scheduler.get_accumulate_grad_batches(epoch) for epoch in range(epochs)]
    found = sum(ceil(batches / each) for each in every)
    return found if trainer.max_steps == -1 else min(found, trainer.max_steps)


def first_batches_per_step(trainer: L.Trainer) -> int:
    """Accumulated batches per optimizer step in the first epoch."""
    scheduler = _scheduler(trainer)
    return scheduler.get_accumulate_grad_batches(0) if scheduler else trainer.accumulate_grad_batches


def _scheduler(trainer: L.Trainer) -> GradientAccumulationScheduler | None:
    given = getattr(trainer, "callbacks", ())
    return next((one for one in given if isinstance(one, GradientAccumulationScheduler)), None)
