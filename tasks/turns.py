"""Manual optimization for GANs: alternating updates, step counting, gradient averaging across devices."""

from collections.abc import Callable
from math import ceil
from typing import Any

import lightning as L
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer

from modules.contracts import ConfigError
from modules.training.optim import Optim
from tasks.base import Task

ADAM = Optim(lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0, schedule="linear", warmup=0.0)


class Turns(Task):
    """Base of tasks with a `generator` and a `discriminator`.

    Every batch trains the discriminator; after `n_critic` of its steps the generator takes one. Only the generator's
    steps are counted: for `trainer.max_steps`, `checkpoint.every_n_steps`, schedules and the steps in the logs, which
    are written every `trainer.log_every_n_steps` batches.

    Gradients, and batch norm statistics, are averaged across devices just before a step, so that any data-parallel
    strategy works although half of the parameters have no gradient. Each device draws the random numbers of all and
    takes its share, so the result equals that of one device with the whole batch.

    Args:
        n_critic: discriminator steps per generator step.
        accumulate: batches per step of either network (gradient accumulation).
        gradient_clip: maximum gradient norm of either network; 0 is off.
        optim: optimizer, learning-rate schedule and weight decay of the generator.
        discriminator_optim: the same for the discriminator.
        ema_decay: EMA decay of the generator's weights, e.g. 0.999; the EMA generator then makes all images that are
            evaluated and written. 0 disables it.
    """

    float32 = True
    generator: nn.Module
    discriminator: nn.Module

    def __init__(
        self,
        n_critic: int = 1,
        accumulate: int = 1,
        gradient_clip: float = 0.0,
        optim: Optim = ADAM,
        discriminator_optim: Optim = ADAM,
        ema_decay: float = 0.0,
    ):
        super().__init__(optim=optim, ema_decay=ema_decay)
        self.automatic_optimization = False
        for name, value in {"n_critic": n_critic, "accumulate": accumulate}.items():
            if value < 1:
                raise ConfigError(f"model.{name} is {value}, but it counts from 1")
        self.n_critic, self.accumulate, self.gradient_clip = n_critic, accumulate, gradient_clip
        self.discriminator_optim = discriminator_optim
        self.collected = 0  # batches since the discriminator's last step
        self.rounds = 0  # steps of the discriminator since the generator's last one
        self.measured: dict[str, Tensor] = {}  # latest value of each logged scalar

    @property
    def named_networks(self) -> dict[str, nn.Module]:
        return {type(network).__name__: network for network in (self.generator, self.discriminator)}

    @property
    def batches_per_step(self) -> int:
        return self.accumulate

    @property
    def turns(self) -> tuple[bool, bool]:
        """Flags of this batch: the discriminator takes a step, and then the generator."""
        stepping = self.collected + 1 == self.accumulate or self.trainer.is_last_batch
        return stepping, stepping and self.rounds + 1 == self.n_critic

    def draw(self, sampler: Callable[..., Tensor], count: int, *shape: int) -> Tensor:
        """Draw `sampler((count, *shape))`, such as torch.rand, for all devices; returns this device's share."""
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self._trainer else (1, 0)
        return sampler((count * world, *shape), device=self.device)[rank::world]

    def collect(self, loss: Tensor) -> None:
        """Accumulate the gradients of a batch, scaled to its share of the step."""
        loss = loss / self.accumulate
        if self.trainer.world_size == 1:
            self.manual_backward(loss)
            return
        with self.trainer.strategy.block_backward_sync():
            self.manual_backward(loss)

    def step_discriminator(self, alone: bool = True) -> None:
        """Step the discriminator with the accumulated gradients; not counted by the trainer.

        Args:
            alone: no generator step with the same images follows, so that batch norm statistics can be averaged now.
        """
        self._agree(self.discriminator, statistics=alone)
        optimizer = self.trainer.optimizers[1]
        self.trainer.strategy.optimizer_step(optimizer, closure=lambda: None)
        optimizer.zero_grad()
        self.lr_schedulers()[1].step()
        self.collected, self.rounds = 0, self.rounds + 1

    def step_generator(self) -> None:
        """Step the generator; counted by the trainer."""
        self._agree(self.generator)
        optimizer = self.optimizers()[0]
        optimizer.step()
        optimizer.zero_grad()
        self.lr_schedulers()[0].step()
        self.rounds = 0

    def _agree(self, network: nn.Module, statistics: bool = True) -> None:
        """Average a network's gradients, and the batch norm statistics of both, across devices."""
        if self.trainer.world_size == 1:
            return
        tensors = [p.grad for p in network.parameters() if p.grad is not None]
        if statistics:
            both = (self.generator, self.discriminator)
            tensors += [b for part in both for b in part.buffers() if b.is_floating_point()]
        mean = self.trainer.strategy.reduce(_flatten_dense_tensors(tensors), reduce_op="mean")
        for tensor, shared in zip(tensors, _unflatten_dense_tensors(mean, tensors), strict=True):
            tensor.copy_(shared)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip gradients, after unscaling for half precision, and record their norm."""
        name = "generator" if optimizer is self.trainer.optimizers[0] else "discriminator"
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.gradient_clip:
            self.measured[f"{name}_gradient"] = clip_grad_norm_(parameters, self.gradient_clip)
        elif self.logging:
            self.measured[f"{name}_gradient"] = get_total_norm([p.grad for p in parameters])

    @property
    def logging(self) -> bool:
        """True for batches that loggers write."""
        every = self.trainer.log_every_n_steps
        return bool(every) and (self.trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every == 0

    def log_step(self, values: dict[str, Tensor | float]) -> None:
        """Log `train/NAME` every `log_every_n_steps` batches; the progress bar shows both losses."""
        if self.logging:
            for name, value in values.items():
                self.log(f"train/{name}", value, prog_bar=name.endswith("_loss"), sync_dist=True)
            self._log_place()

    def on_eval_epoch_end(self, stage: str) -> None:
        self._log_place()

    def _log_place(self) -> None:
        """Log step and epoch, since loggers would count batches as steps."""
        self.log("step", float(self.trainer.global_step), sync_dist=True)
        self.log("epoch", float(self.trainer.current_epoch), sync_dist=True)

    def configure_callbacks(self) -> list[L.Callback]:
        trainer = self.trainer
        if trainer.state.fn == "fit" and (trainer.accumulate_grad_batches != 1 or trainer.gradient_clip_val):
            raise ConfigError(
                f"{type(self).__name__} has two optimizers and takes their steps itself: set --model.accumulate in "
                f"place of trainer.accumulate_grad_batches, --model.gradient_clip in place of trainer.gradient_clip_val"
            )
        return []

    def configure_optimizers(self) -> tuple[list[Optimizer], list[Any]]:
        steps = self._steps()
        fused = self.trainer.precision != "16-mixed"  # unscales too late to be clipped and measured
        batch = self.effective_batch_size if self.optim.scale_lr or self.discriminator_optim.scale_lr else 256
        pairs = [
            self.optim.build(self.generator, None, steps, batch, fused),
            self.discriminator_optim.build(self.discriminator, None, steps * self.n_critic, batch, fused),
        ]
        return [optimizer for optimizer, _ in pairs], [schedule for _, schedule in pairs]

    def _steps(self) -> int:
        """Number of generator steps in the whole run."""
        trainer = self.trainer
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["rounds"], checkpoint["measured"] = self.rounds, self.measured

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.rounds, self.measured = checkpoint["rounds"], dict(checkpoint["measured"])
