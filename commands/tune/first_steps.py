"""First steps of `tune --steps`, in one process: initial loss, a few samples by heart, learning-rate range test."""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.range_test import LearningRateRangeTest
from commands.tune.findings import Finding
from datamodules import DataModule
from modules.contracts import Batch
from modules.training.mixing import Mixing
from tasks import Task

BATCHES = 8
"""Batches whose mean loss is compared with theory."""
NEAR = 0.15
"""Share of the loss at chance by which the initial loss may differ; of 1 where that is 0."""
FEW = 20
"""Samples that are learned by heart."""
MOST_STEPS = 400
"""Steps within which they should be."""
BY_HEART = 0.05
"""Share of the initial loss at which samples count as learned by heart."""
OFF = tuple("dropout drop_path drop_block label_smoothing mixup cutmix l1 sam ema_decay average_last_epochs".split())
"""Settings that keep a network from learning samples by heart."""
STEADY = {
    "schedule": "constant",
    "warmup": 0.0,
    "milestones": None,
    "gamma": None,
    "period": None,
    "patience": None,
}


class Losses(L.Callback):
    """Record the training loss of every step; stop when it is low.

    Args:
        share: of the first loss, below which training stops; 0 never stops.
    """

    def __init__(self, share: float = 0.0):
        self.share, self.seen = share, []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        loss = outputs if isinstance(outputs, Tensor) else outputs["loss"]
        self.seen.append(loss.item())
        trainer.should_stop |= self.share > 0 and self.seen[-1] <= self.share * self.seen[0]


class FirstSteps:
    """Steps before the first real training, each with a network of its own.

    Args:
        settings: of `fit`; the data's classes are in them.
        data: set up.
        build: `model` and `data` from their settings.
        folder: run directory.
    """

    def __init__(self, settings: Namespace, data: DataModule, build: Callable[[Namespace], Namespace], folder: Path):
        self.settings, self.data, self.build, self.folder = settings, data, build, folder

    def initial_loss(self) -> Finding:
        """Compare the loss before training, with weight decay off, with that at chance."""
        losses = Losses()
        task = self._task({"lr": 0.0, **STEADY})
        self._fit(task, self.data, [losses], BATCHES)
        mean, theory = sum(losses.seen) / len(losses.seen), task.chance_loss()
        values = {"loss": mean, "chance": theory}
        said = f"The loss before training is {mean:.3f}, the mean of {len(losses.seen)} batches"
        if theory is None:
            return Finding(f"{said}; there is no theory for this loss to compare it with.", values)
        slack = NEAR * (abs(theory) or 1)
        if mean < theory - slack:
            why = "weights that know the task already, targets that the network sees, or MoCo's queue as it begins"
            return Finding(f"{said}; at chance it would be {theory:.3f}, so it is lower: {why}.", values, None)
        if mean <= theory + slack:
            return Finding(f"{said}; at chance it would be {theory:.3f}, as it should be.", values, True)
        why = "too large initial weights of the last layer, features that are not normalized, or wrong labels"
        return Finding(f"{said}, well above the {theory:.3f} of chance: look for {why}.", values, False)

    def by_heart(self) -> Finding:
        """Train on a few samples alone, without regularization, until they are known by heart."""
        losses, task = Losses(BY_HEART), self._task(STEADY, plain=True)
        data, count = self._few(task.letterbox)
        self._fit(task, data, [losses], MOST_STEPS)
        first, last, steps = losses.seen[0], min(losses.seen), len(losses.seen)
        values = {"first": first, "last": last, "steps": steps}
        said = f"On {count} samples, without regularization, the loss fell from {first:.3f} to "
        if last <= BY_HEART * first:
            return Finding(f"{said}{last:.3f} in {steps} steps: the network can learn these data.", values, True)
        if task.pretraining and last < 0.9 * first:
            return Finding(f"{said}{last:.3f} in {steps} steps; this loss has a floor above 0.", values)
        why = "the learning rate, the network's size, labels and inputs (fit writes figures/train_batch.png)"
        return Finding(
            f"{said}{last:.3f} only in {steps} steps: they cannot be memorized; look at {why}.", values, False
        )

    def range_test(self) -> Finding:
        """Find the learning rate by a range test."""
        test, task = LearningRateRangeTest(), self._task(STEADY)
        self._fit(task, self.data, [test], 1)
        figure = "figures/lr_finder.png"
        if test.found is None:
            said = f"The loss fell at no learning rate ({figure}); model.optim.lr stays as it is."
            return Finding(said, {"lr": None}, False)
        said = f"The range test suggests the learning rate {test.found:g} ({figure})."
        return Finding(said, {"lr": test.found}, True)

    def _task(self, optim: dict[str, Any], plain: bool = False) -> Task:
        """A fresh task with settings of `optim` in place of its own; `plain` is without regularization."""
        model = self.settings.model.clone()
        for name, value in optim.items():
            model.init_args.optim[name] = value
        if plain:
            model.init_args.optim["weight_decay"] = _without_decay(model.init_args.optim)
            _switch_off(model.init_args)
        L.seed_everything(self.settings.seed_everything, verbose=False)
        return self.build(Namespace(model=model)).model

    def _few(self, letterbox: bool) -> tuple[DataModule, int]:
        """Data whose training is one batch of a few samples, again and again, and their number."""
        settings = self.settings.data.clone()
        size = settings.init_args.get("batch_size")
        if size:
            fitting = max(part for part in range(1, FEW + 1) if size % part == 0)  # queues are multiples of batches
            settings.init_args["batch_size"] = fitting if fitting >= FEW / 2 else min(size, FEW)
        if "workers" in settings.init_args:
            settings.init_args["workers"] = 0
        data = self.build(Namespace(data=settings)).data
        data.adopt({})
        data.set_letterbox(letterbox)
        data.prepare_data()
        data.setup("fit")
        batch = next(iter(data.train_dataloader()))
        same: Any = [batch] * MOST_STEPS
        data.train_dataloader = lambda: DataLoader(same, batch_size=None, collate_fn=dict)
        return data, len(batch["id"])

    def _fit(self, task: Task, data: DataModule, callbacks: list[L.Callback], max_steps: int) -> None:
        own = self.settings.trainer
        trainer = L.Trainer(
            accelerator=own.accelerator if isinstance(own.accelerator, str) else "auto",
            devices=1,
            precision=own.precision,
            max_epochs=-1,
            max_steps=max_steps,
            accumulate_grad_batches=own.accumulate_grad_batches,
            gradient_clip_val=own.gradient_clip_val,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.folder,
            callbacks=callbacks,
        )
        trainer.fit(task, datamodule=data)


def _without_decay(optim: Namespace) -> float | None:
    """No weight decay; its own for Lars, which adapts only what decays."""
    kind = (optim.get("optimizer") or {}).get("class_path", "")
    return optim.get("weight_decay") if kind.endswith("Lars") else 0.0


def _switch_off(settings: Any) -> None:
    """Set regularization to 0 in settings, also of classes within."""
    for name, value in vars(settings).items():
        if name in OFF and isinstance(value, int | float) and math.isfinite(value):
            settings[name] = type(value)(0)
        elif name == "mixing" and value:
            settings[name] = Namespace(**asdict(Mixing()))
        elif isinstance(value, Namespace):
            _switch_off(value)
