"""Manual optimization for GANs: alternating updates, step counting, gradient averaging across devices."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import lightning as L
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from modules.contracts import ConfigError, check_range
from modules.training.optim import Optim
from tasks.plateau import ReduceOnPlateau
from tasks.scheduled import Scheduled


class AlternatingUpdates:
    """Alternating steps of the `generator` and the `discriminator` of a task.

    Every batch trains the discriminator; after `n_critic` of its steps the generator takes one. Only the generator's
    steps are counted: for `trainer.max_steps`, `checkpoint.every_n_steps`, schedules and the steps in the logs.

    Gradients, and batch norm statistics, are averaged across devices just before a step, so that any data-parallel
    strategy works although half of the parameters have no gradient. Each device draws the random numbers of all and
    takes its share, so the result equals that of one device with the whole batch.

    Args:
        task: uses manual optimization; its optimizers and schedules are the generator's, then the discriminator's.
        n_critic: discriminator steps per generator step.
        accumulate: batches per step of either network (gradient accumulation).
        gradient_clip: maximum gradient norm of either network; 0 is off.

    Attributes: `collected` counts batches since the discriminator's last step, `rounds` its steps since the generator's
    last one.

    Raises:
        ConfigError: a count below 1, or a negative norm.
    """

    def __init__(self, task: Scheduled, n_critic: int, accumulate: int, gradient_clip: float):
        for name, value in {"n_critic": n_critic, "accumulate": accumulate}.items():
            check_range(f"model.{name}", value, 1)
        check_range("model.gradient_clip", gradient_clip)
        self.task, self.n_critic, self.accumulate, self.gradient_clip = task, n_critic, accumulate, gradient_clip
        self.collected = self.rounds = 0

    @property
    def due(self) -> tuple[bool, bool]:
        """Flags of this batch: the discriminator takes a step, and then the generator."""
        discriminator = self.collected + 1 == self.accumulate or self.task.trainer.is_last_batch
        return discriminator, discriminator and self.rounds + 1 == self.n_critic

    @property
    def discriminator_steps(self) -> int:
        """Steps of the discriminator so far."""
        return self.task.trainer.global_step * self.n_critic + self.rounds

    def draw(self, sampler: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
        """Draw `sampler((count, *shape))`, such as torch.rand, for all devices; returns this device's share."""
        task = self.task
        world, rank = (task.trainer.world_size, task.trainer.global_rank) if task._trainer else (1, 0)
        return sampler((count * world, *shape), device=task.device)[rank::world]

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradients of a batch, scaled to its share of the step."""
        loss = loss / self.accumulate
        if self.task.trainer.world_size == 1:
            self.task.manual_backward(loss)
            return
        with self.task.trainer.strategy.block_backward_sync():
            self.task.manual_backward(loss)

    def count_batch(self) -> None:
        """Count a batch whose gradients the discriminator has."""
        self.collected += 1

    def resume(self, rounds: int) -> None:
        """Go on after so many steps of the discriminator since the generator's last one."""
        self.rounds = rounds

    def step_discriminator(self, alone: bool = True) -> None:
        """Step the discriminator with the accumulated gradients; not counted by the trainer.

        Args:
            alone: no generator step with the same images follows, so that batch norm statistics can be averaged now.
        """
        self._synchronize(self.task.discriminator, statistics=alone)
        trainer = self.task.trainer
        trainer.strategy.optimizer_step(trainer.optimizers[1], closure=lambda: None)
        trainer.optimizers[1].zero_grad()
        self.task.lr_schedulers()[1].step()
        self.collected, self.rounds = 0, self.rounds + 1

    def step_generator(self) -> None:
        """Step the generator; counted by the trainer."""
        self._synchronize(self.task.generator)
        optimizer = self.task.optimizers()[0]
        optimizer.step()
        optimizer.zero_grad()
        self.task.lr_schedulers()[0].step()
        self.rounds = 0

    def _synchronize(self, network: nn.Module, statistics: bool = True) -> None:
        """Average a network's gradients, and the batch norm statistics of both, across devices."""
        if self.task.trainer.world_size == 1:
            return
        tensors = [p.grad for p in network.parameters() if p.grad is not None]
        if statistics:
            both = (self.task.generator, self.task.discriminator)
            tensors += [b for part in both for b in part.buffers() if b.is_floating_point()]
        mean = self.task.trainer.strategy.reduce(_flatten_dense_tensors(tensors), reduce_op="mean")
        for tensor, shared in zip(tensors, _unflatten_dense_tensors(mean, tensors), strict=True):
            tensor.copy_(shared)

    def clip(self, optimizer: Optimizer) -> None:
        """Clip the gradients of a step to `gradient_clip`, if any."""
        if self.gradient_clip:
            clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], self.gradient_clip)

    def build(self, optim: Optim, discriminator_optim: Optim, batch: int) -> tuple[list[Optimizer], list[Any]]:
        """Build both optimizers and their schedules; `batch` samples are a step."""
        epoch, steps = self.task.steps_per_epoch(), self._total_steps()
        self.task.check_length(optim, steps, epoch / self.n_critic)
        self.task.check_length(discriminator_optim, steps * self.n_critic, epoch)
        fused = self.task.trainer.precision != "16-mixed"  # unscales too late to be clipped and measured
        pairs = [
            optim.build(self.task.generator, None, steps, batch, fused, epoch / self.n_critic),
            discriminator_optim.build(self.task.discriminator, None, steps * self.n_critic, batch, fused, epoch),
        ]
        for settings, (optimizer, _) in zip((optim, discriminator_optim), pairs, strict=True):
            self.task.check_optimizer(settings, optimizer)
        return [optimizer for optimizer, _ in pairs], [schedule for _, schedule in pairs]

    def _total_steps(self) -> int:
        """Number of generator steps in the whole run.

        Raises:
            ConfigError: the run is too short for one.
        """
        trainer = self.task.trainer
        most = int(trainer.estimated_stepping_batches)  # also prepares the loaders
        if trainer.max_epochs == -1:
            return most
        rounds = ceil(trainer.num_training_batches / self.accumulate) * trainer.max_epochs
        if rounds < self.n_critic:
            raise ConfigError(
                f"the generator's first step comes after {self.n_critic} of the discriminator (model.n_critic), but "
                f"this run has {rounds}: raise trainer.max_epochs, or lower --data.batch_size or --model.n_critic"
            )
        return min(most, rounds // self.n_critic) if trainer.max_steps != -1 else rounds // self.n_critic

    def callbacks(self, *optims: Optim) -> list[L.Callback]:
        """Callbacks that the schedules of the optimizers need, for a trainer without settings for a single one.

        Raises:
            ConfigError: it has such settings; names those that replace them.
        """
        trainer = self.task.trainer
        if trainer.state.fn != "fit":
            return []
        if trainer.accumulate_grad_batches != 1 or trainer.gradient_clip_val:
            raise ConfigError(
                f"{type(self.task).__name__} has two optimizers and takes their steps itself: set --model.accumulate "
                f"in place of trainer.accumulate_grad_batches, --model.gradient_clip in place of "
                f"trainer.gradient_clip_val"
            )
        return [ReduceOnPlateau()] if any(optim.schedule == "plateau" for optim in optims) else []


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Context manager without gradients for a network through which another one is trained."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
