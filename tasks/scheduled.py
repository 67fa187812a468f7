"""Learning rates of a task in training: its schedules, and a rate that is found before the first step."""

import math
from dataclasses import is_dataclass, replace
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info
from torch.optim import LBFGS, Optimizer

from modules.contracts import ConfigError
from modules.training.accumulation import first_batches_per_step
from modules.training.optim import Optim
from modules.training.schedules import Rates


class Scheduled(L.LightningModule):
    """Base of tasks whose learning rates follow schedules of `Optim`.

    Attributes: `lr_searched` is true once a learning-rate finder has looked for `optim.lr`; checkpoints keep it.
    `stateful_part` names what each evaluation of a batch changes, such as `queue`, so that L-BFGS and SAM, which
    evaluate one several times per step, do not go; empty for nothing.
    """

    lr_searched: bool = False
    stateful_part: str = ""

    @property
    def schedules(self) -> list[Rates]:
        """Learning-rate schedules of the training, one per optimizer; none where a callback has replaced them."""
        configs = self.trainer.lr_scheduler_configs if self._trainer is not None else ()
        return [config.scheduler for config in configs if isinstance(config.scheduler, Rates)]

    @property
    def batches_per_step(self) -> int:
        """Accumulated batches per optimizer step; those of the first epoch where a schedule changes them."""
        return first_batches_per_step(self.trainer)

    def steps_per_epoch(self) -> float:
        """Optimizer steps per epoch, whose last step may have fewer batches; infinite for data of unknown length."""
        if self.trainer.train_dataloader is None:
            self.trainer.fit_loop.setup_data()
        batches = self.trainer.num_training_batches
        return math.ceil(batches / self.batches_per_step) if math.isfinite(batches) else batches

    def lr_factors(self) -> dict[str, float]:
        """Factors on the learning rate by name of the parameter, beside those of `optim`; 1 where a name is missing."""
        return {}

    def check_length(self, optim: Optim, steps: float, epoch: float) -> None:
        """Refuse a schedule that does not fit into the training, unless that is the few steps of `fast_dev_run`.

        Args:
            optim: has the schedule.
            steps: optimizer steps in all.
            epoch: optimizer steps per epoch.

        Raises:
            ConfigError: see `Optim.check_length`.
        """
        trainer: Any = self.trainer
        if not trainer.fast_dev_run:
            optim.check_length(steps, epoch)

    def check_optimizer(self, optim: Optim, optimizer: Optimizer) -> None:
        """Refuse an optimizer that evaluates a batch several times per step where a task or trainer cannot.

        Args:
            optim: its settings.
            optimizer: built of them.

        Raises:
            ConfigError: names the setting that does not go with it.
        """
        searches, trainer = isinstance(optimizer, LBFGS), self.trainer
        if not (searches or optim.sam):
            return
        sharded = type(trainer.strategy).__name__ in ("FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy")
        obstacles = {
            f"{type(self).__name__}, which takes its steps itself": not self.automatic_optimization,
            f"{type(self).__name__}, whose {self.stateful_part} each evaluation changes": self.stateful_part,
            "trainer.accumulate_grad_batches above 1": self.batches_per_step > 1,
            "trainer.precision 16-mixed": trainer.precision in ("16-mixed", "16"),
            "trainer.gradient_clip_val": searches and trainer.gradient_clip_val,
            f"trainer.strategy {type(trainer.strategy).__name__}": sharded,
        }
        if found := " or ".join(name for name, holds in obstacles.items() if holds):
            name = "optim.optimizer LBFGS" if searches else f"optim.sam {optim.sam:g}"
            raise ConfigError(
                f"{name} evaluates a batch several times per step, which does not go with {found}: leave one of them "
                "out"
            )

    def set_lr(self, lr: float | None) -> None:
        """Train with the `optim.lr` that a search has found, which checkpoints keep; null if it has found none."""
        self.lr_searched = True
        if lr is None:
            return
        for rates in self.schedules:
            rates.set_lr(lr)
        known = self.hparams["optim"]  # from the command line plain
        self.hparams["optim"] = replace(known, lr=lr) if is_dataclass(known) else {**known, "lr": lr}
        rank_zero_info(f"learning rate {lr:.3g}; to use it again: --model.optim.lr {lr:.3g}")

    @property
    def lr(self) -> float:
        """Highest learning rate of the schedule, under the name that Lightning's LearningRateFinder looks for."""
        if not self.schedules:
            raise AttributeError("no schedule yet")
        return max(float(rate) for schedule in self.schedules for rate in schedule.base_lrs)

    @lr.setter
    def lr(self, rate: float) -> None:
        self.set_lr(rate / max(self.schedules[0].scales))

    def on_train_start(self) -> None:
        for rates in self.schedules:  # LearningRateFinder leaves its own
            rates.apply()
