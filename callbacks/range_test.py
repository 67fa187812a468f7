"""Learning-rate range test before the training (Smith 2017)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from itertools import count, islice
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from callbacks.figures.log import log_figure
from callbacks.figures.lr_finder import lr_finder
from callbacks.random_state import read_state, write_state
from modules.contracts import Batch
from modules.training.range_test import diverged, suggest_lr


class LearningRateRangeTest(L.Callback):
    """Learning-rate finder: a range test (Smith 2017) before the training, which then has the suggested rate.

    The rate rises exponentially from step to step while the loss is recorded, until it diverges. Layers keep their own
    factors on the rate. Weights, optimizer and random state are restored: the training differs from one without the
    test in nothing but `optim.lr`. Nothing is tested when a run is resumed.

    Args:
        steps: optimizer steps of the test; epochs repeat where the data is smaller.
        least: first rate.
        most: last rate.

    Attributes: `found` is the suggestion, in the units of `optim.lr`; null where the loss did not fall.
    """

    def __init__(self, steps: int = 100, least: float = 1e-6, most: float = 10.0):
        self.rates = [least * (most / least) ** (step / (steps - 1)) for step in range(steps)]
        self.found: float | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.ckpt_path:
            return
        task: Any = pl_module
        (schedule,) = task.schedules
        before, losses = schedule.lr, self.test(trainer, task)
        self.found = suggest_lr(self.rates, losses)
        task.set_lr(self.found)
        log_figure(trainer, "lr_finder", lr_finder(self.rates[: len(losses)], losses, self.found, before))

    def startup_lines(self, trainer: L.Trainer) -> list[str]:
        """Sentence with the suggestion, for the startup summary."""
        if trainer.ckpt_path:
            return []
        figure = "figures/lr_finder.png"
        if self.found is None:
            return [f"find_lr: the loss fell at no rate of {figure}, so that model.optim.lr stays as it is"]
        return [f"find_lr: {self.found:g} is the rate at which three quarters of the loss's fall are reached: {figure}"]

    def test(self, trainer: L.Trainer, task: Any) -> list[float]:
        """Loss at each rate until it diverges, the mean over all devices; the task is left as it was.

        Args:
            trainer: about to train.
            task: has `schedules`, one of `Optim`.
        """
        losses: list[float] = []
        (schedule,), (optimizer,) = task.schedules, trainer.optimizers
        batches = _batches(trainer)
        with _unchanged(trainer, task), torch.enable_grad():
            for rate in self.rates:
                for group, scale in zip(optimizer.param_groups, schedule.scales, strict=True):
                    group["lr"] = rate * scale
                losses.append(_step(trainer, task, batches))
                if diverged(losses):
                    break
        schedule.apply()
        return losses


def _step(trainer: L.Trainer, task: Any, batches: Iterator[Batch]) -> float:
    """Take an optimizer step as the training does; returns its loss."""
    strategy: Any = trainer.strategy
    optimizer, parts = task.optimizers(), task.batches_per_step
    losses: list[Tensor] = []
    step = list(islice(batches, parts))

    def closure() -> Tensor:
        losses.clear()
        optimizer.zero_grad()
        for part in range(parts):
            waiting = part + 1 < parts and trainer.world_size > 1
            with strategy.block_backward_sync() if waiting else nullcontext():
                made = strategy.training_step(step[part], part)
                loss = (made if isinstance(made, Tensor) else made["loss"]) / parts
                losses.append(loss.detach())
                strategy.backward(loss, trainer.optimizers[0])
        return losses[-1]

    task.optimizer_step(0, parts - 1, optimizer, closure)
    return float(strategy.reduce(torch.stack(losses).sum(), reduce_op="mean"))


def _batches(trainer: Any) -> Iterator[Batch]:
    """Batches of the training on the device, epoch after epoch."""
    task, loader = trainer.lightning_module, trainer.train_dataloader
    for epoch in count():
        _set_epoch(loader, epoch)
        for batch in islice(loader, int(trainer.num_training_batches)):
            batch = task._on_before_batch_transfer(trainer.precision_plugin.convert_input(batch), dataloader_idx=0)
            yield trainer.strategy.batch_to_device(batch, dataloader_idx=0)


def _set_epoch(loader: Iterable[Batch], epoch: int) -> None:
    if isinstance(loader, DataLoader) and isinstance(loader.sampler, DistributedSampler):
        loader.sampler.set_epoch(epoch)


@contextmanager
def _unchanged(trainer: Any, task: Any) -> Iterator[None]:
    """Restore weights, optimizer, loss scale and random state afterwards, and let nothing log in between."""
    tensors = [*task.parameters(), *task.buffers()]
    saved, random = [tensor.detach().clone() for tensor in tensors], read_state()
    (optimizer,), plugin = trainer.optimizers, trainer.precision_plugin
    state, scale = deepcopy(optimizer.state_dict()), plugin.state_dict()
    given, trainer.callbacks = trainer.callbacks, []
    vars(task)["log"] = lambda *args, **kwargs: None
    try:
        yield
    finally:
        del vars(task)["log"]
        trainer.callbacks = given
        optimizer.zero_grad()
        optimizer.load_state_dict(state)
        plugin.load_state_dict(scale)
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)
        _set_epoch(trainer.train_dataloader, trainer.current_epoch)
        write_state(random)
