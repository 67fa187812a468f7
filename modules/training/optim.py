"""Optimizer settings as a dataclass; parameter groups as a pure function."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from timm.optim import Lars
from torch import nn
from torch.optim import LBFGS, Optimizer

from modules.contracts import ConfigError, check_range
from modules.training.closures import SharpnessAware, prepare_search
from modules.training.parameter_groups import (
    OptimizerCallable,
    keep_settings,
    make_optimizer,
    name_state,
    parameter_groups,
)
from modules.training.penalties import Penalty
from modules.training.schedules import Rates, Schedule, check_schedule, schedule


@dataclass(frozen=True)
class Optim:
    """Optimizer, learning-rate schedule, warmup, weight decay and other penalties, layer-wise learning-rate decay.

    Args:
        optimizer: any optimizer of torch or timm (`SGD`, `LBFGS`, `Lion`, `Lamb`, `timm.optim.Muon`, ...), its own
            arguments in init_args; null is AdamW, fused.
        lr: highest learning rate; null keeps that of `optimizer`.
        weight_decay: for weights of two or more dimensions (norms, biases get none); null keeps that of `optimizer`.
        decay: way of the weight decay: the `optimizer`'s own, `decoupled` from its gradients (Loshchilov and Hutter
            2019: w shrinks by lr * weight_decay), or in the `loss` as weight_decay / 2 * |w|^2 (L2).
        l1: weight of the L1 norm of the weights that decay, in the loss; with weight_decay an elastic net. With decay
            `decoupled` a proximal step, soft thresholding by lr * l1, which makes weights exactly 0.
        sam: radius of sharpness-aware minimization (Foret et al. 2021), such as 0.05: each step takes the gradients at
            the point of highest loss within it, which costs a second pass; 0 is off.
        betas: decay rates of Adam's averages of gradients and of their squares, 0..1; null keeps those of `optimizer`.
        schedule: shape of the learning rate over all optimizer steps; `step` multiplies it by `gamma` at `milestones`
            or after every `period`, `plateau` while the task's monitor does not improve (ReduceLROnPlateau).
        warmup: optimizer steps with a linearly rising learning rate: a fraction of all steps, or a count when >= 1. It
            delays no milestone: epochs count from the start of training.
        final: last learning rate of `cosine` and `linear`, and least of `plateau`, as a fraction of the highest.
        milestones: of `step`, ascending: epochs, such as [30, 60, 90] (the epoch after 30 finished ones is the first
            with the lower rate), or fractions of all steps below 1; null is [0.6, 0.85].
        gamma: factor of `step` and `plateau`, (0, 1]; null is 0.1.
        period: epochs between two reductions of `step`, in place of milestones; GoogLeNet's is 8, with gamma 0.96.
        patience: validations without improvement after which `plateau` reduces the rate, and again; null is 3.
        layer_decay: layer-wise learning-rate decay: factor per layer of the backbone, from the head down; 1 is none.
        backbone: factor on the learning rate of the whole backbone, such as 0.1 to fine-tune it gently.
        scale_lr: multiply the learning rate by the effective batch size (devices and accumulation included) / 256.
    """

    # null, not AdamW: a default's filled-in arguments would stay when another class is chosen
    optimizer: OptimizerCallable | None = None
    lr: float | None = None
    weight_decay: float | None = None
    decay: Literal["optimizer", "decoupled", "loss"] = "optimizer"
    l1: float = 0.0
    sam: float = 0.0
    betas: tuple[float, float] | None = None
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    final: float = 0.0
    milestones: list[float] | None = None
    gamma: float | None = None
    period: float | None = None
    patience: int | None = None
    layer_decay: float = 1.0
    backbone: float = 1.0
    scale_lr: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.optimizer, str):
            raise ConfigError(
                f"optim.optimizer is {self.optimizer!r}, but in Python it is a class or a function of the parameters, "
                "such as torch.optim.SGD"
            )
        if min(self.lr or 0, self.weight_decay or 0) < 0 or not 0 <= self.final <= 1:
            raise ConfigError(
                f"optim.lr is {self.lr}, weight_decay {self.weight_decay} and final {self.final:g}, but the first two "
                "are 0 or more and the last is a fraction of the highest rate"
            )
        check_range("optim.l1", self.l1)
        check_range("optim.sam", self.sam)
        if self.betas and not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optim.betas are {list(self.betas)}, but an average keeps 0 or more and less than 1")
        if not 0 < self.layer_decay <= 1:
            raise ConfigError(f"optim.layer_decay is {self.layer_decay}, but a factor per layer lies in (0, 1]")
        if self.backbone <= 0:
            raise ConfigError(
                f"optim.backbone is {self.backbone:g}, but it is a factor above 0: to keep the backbone as it is, set "
                "model.frozen true"
            )
        if self.warmup < 0:
            raise ConfigError(f"optim.warmup is {self.warmup}, but it is a fraction of all steps or a number of steps")
        check_schedule(self.schedule, self.milestones, self.gamma, self.period, self.patience)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Optim":
        """Itself, as it is frozen; the `optimizer` from the command line holds open files and cannot be copied."""
        return self

    def build(
        self,
        module: nn.Module,
        backbone: nn.Module | None,
        steps: int,
        batch: int = 256,
        fused: bool = True,
        epoch: float = math.inf,
        factors: Mapping[str, float] | None = None,
    ) -> tuple[Optimizer, Rates]:
        """The optimizer over the trainable parameters of `module`, and its schedule per optimizer step.

        Args:
            module: to train.
            backbone: part of it that the settings `backbone` and `layer_decay` apply to.
            steps: optimizer steps in all.
            batch: samples per optimizer step, on all devices, for `scale_lr`.
            fused: whether the default AdamW may be fused (5 times faster on a CPU too); torch cannot clip gradients in
                float16 then.
            epoch: optimizer steps per epoch, for milestones and period; infinite where unknown.
            factors: more factors on the learning rate, by name of the parameter in `module`.

        Raises:
            ConfigError: nothing is trainable, settings of a backbone where there is none, settings that the optimizer
                does not have, Lars without decay, SparseAdam, or milestones in epochs of unknown length.
        """
        if backbone is None and (self.backbone, self.layer_decay) != (1, 1):
            raise ConfigError("optim.backbone and layer_decay are about a backbone, which this task does not have")
        penalized = self.decay != "optimizer" or self.l1 > 0
        make = self.optimizer or partial(torch.optim.AdamW, fused=fused and not penalized)
        groups = parameter_groups(module, backbone, self.layer_decay, self.backbone, factors)
        optimizer = make_optimizer(make, groups)
        self._check_made(optimizer)
        lr, scales = optimizer.param_groups[0]["lr"] if self.lr is None else self.lr, []
        l2 = optimizer.defaults.get("weight_decay", 0.0) if self.weight_decay is None else self.weight_decay
        for group in optimizer.param_groups:
            if self.lr is not None:
                group["lr"] = self.lr
            if self.betas is not None:
                group["betas"] = self.betas
            scales.append(group.pop("lr_scale") * (batch / 256 if self.scale_lr else 1))
            group["lr"] *= scales[-1]
            decays = group.pop("decay") and self.decay == "optimizer"
            if "weight_decay" in group:
                group["weight_decay"] = l2 if decays else 0.0
        if isinstance(optimizer, LBFGS):
            prepare_search(optimizer)
        if self.sam:
            SharpnessAware(self.sam, module).attach(optimizer)
        if penalized:
            exempt = {id(p) for group in groups if not group["decay"] for p in group["params"]}
            Penalty(self.l1, 0.0 if self.decay == "optimizer" else l2, self.decay == "decoupled", exempt).attach(
                optimizer
            )
        optimizer.register_state_dict_post_hook(name_state)
        optimizer.register_load_state_dict_pre_hook(keep_settings)
        gamma = 0.1 if self.gamma is None else self.gamma
        patience = (self.patience or 3) if self.schedule == "plateau" else 0
        return optimizer, Rates(optimizer, self._factor(steps, epoch, gamma), lr, scales, patience, gamma, self.final)

    def check_length(self, steps: float, epoch: float) -> None:
        """Refuse a schedule that does not fit into a training.

        Args:
            steps: optimizer steps in all.
            epoch: optimizer steps per epoch; infinite where unknown.

        Raises:
            ConfigError: warmup longer than the training, or a period or milestone before the first step is over.
        """
        if 1 <= steps < self.warmup:
            raise ConfigError(
                f"optim.warmup is {self.warmup:g} steps, but training has {steps:g}: take fewer, or a fraction of "
                "them, such as 0.05"
            )
        if self.period and self.period * epoch < 1:
            raise ConfigError(
                f"optim.period is {self.period:g} epochs, less than one of the {epoch:g} steps of an epoch: raise it"
            )
        if self.milestones and self.milestones[0] < 1 and self.milestones[0] * steps < 1:
            raise ConfigError(
                f"optim.milestones begin with {self.milestones[0]:g} of the training, less than one of its {steps:g} "
                "steps: raise it"
            )

    def _factor(self, steps: int, epoch: float, gamma: float) -> Callable[[int], float]:
        """The schedule over `steps` in epochs of `epoch` steps.

        Raises:
            ConfigError: the length of an epoch matters and is unknown.
        """
        warmup = int(self.warmup if self.warmup >= 1 else self.warmup * steps)
        points = [0.6, 0.85] if self.milestones is None else self.milestones
        points = [] if self.period else points
        in_epochs = bool(self.period) or any(point >= 1 for point in points)
        if in_epochs and math.isinf(epoch):
            raise ConfigError(
                "optim.milestones and period count epochs, but this data does not tell how long one is: set "
                "milestones to fractions of the training, such as [0.6, 0.85], with trainer.max_steps"
            )
        at = [point * (epoch if in_epochs else steps) for point in points]
        if late := [point for point, step in zip(points, at, strict=True) if step >= steps]:
            warnings.warn(
                f"optim.milestones {', '.join(f'{point:g}' for point in late)} are never reached: training ends after "
                f"{steps / epoch:g} epochs",
                stacklevel=2,
            )
        period = self.period * epoch if self.period else math.inf
        return schedule(self.schedule, steps, warmup, self.final, at, gamma, period)

    def _check_made(self, optimizer: Optimizer) -> None:
        """Refuse settings that an optimizer does not have.

        Raises:
            ConfigError: names the optimizer and the setting.
        """
        name, defaults = type(optimizer).__name__, optimizer.defaults
        if isinstance(optimizer, torch.optim.SparseAdam):
            raise ConfigError("optim.optimizer is SparseAdam, which takes sparse gradients alone: choose AdamW")
        if self.betas is not None and "betas" not in defaults:
            raise ConfigError(f"{name} has no optim.betas: leave them out")
        if self.decay == "optimizer" and self.weight_decay and "weight_decay" not in defaults:
            raise ConfigError(
                f"{name} has no weight decay of its own: set optim.decay to loss, or optim.weight_decay to 0"
            )
        if isinstance(optimizer, Lars):
            if self.decay != "optimizer":
                raise ConfigError(f"Lars adapts only what it decays itself: leave out optim.decay {self.decay}")
            if not (self.weight_decay or defaults["weight_decay"]):
                raise ConfigError("Lars adapts only what decays: set optim.weight_decay above 0, such as 1e-6")
        if isinstance(optimizer, LBFGS) and (self.sam or self.decay == "decoupled"):
            wrong = "sam" if self.sam else "decay decoupled"
            raise ConfigError(
                f"L-BFGS takes the loss as it is, along whole lines: leave out optim.{wrong}"
                + ("" if self.sam else ", or set it to loss")
            )
