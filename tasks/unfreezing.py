"""Gradual unfreezing: parts of a network that begin to learn at given epochs of the training."""

import math
import re
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn
from torch.optim import LBFGS, Optimizer

from modules.backbones.reach import Reach
from modules.contracts import ConfigError
from tasks.base import Task


class Thaw(NamedTuple):
    """A part that begins to learn at the start of an epoch, at the learning rate times `factor`; null leaves it out."""

    epoch: int
    part: str
    factor: float | None = None


class Unfreezing(Task):
    """Base of tasks with a backbone whose parts can be unfrozen during training.

    Args:
        unfreeze: gradual unfreezing (Howard and Ruder 2018), such as `0:head,2:stage4,4:all`: after 2 epochs, stage 4
            of the backbone learns beside the head, and after 4 epochs everything. Until then a part stays as it is,
            with its normalization layers in eval mode. Stages are the levels of the backbone's maps, from stage0;
            layers go by their names in the backbone. `2:stage4@0.1` is with a factor on the learning rate of what
            begins to learn then (staged learning rates). Pretraining takes it with `weights`.

    Attributes: `locked` are the names of the parameters that do not learn yet.
    """

    reach: Reach
    frozen: bool
    weights: str | None

    def __init__(self, unfreeze: str | None = None, **kwargs):
        super().__init__(**kwargs)
        self.unfreeze_at = read_schedule(unfreeze) if unfreeze is not None else []
        self.locked: frozenset[str] = frozenset()

    def configure_callbacks(self) -> list[L.Callback]:
        used = self.unfreeze_at and self.trainer.state.fn == "fit"
        return super().configure_callbacks() + ([GradualUnfreezing()] if used else [])

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.check_fit()
        super().setup(stage)

    def check_fit(self) -> None:
        """Refuse settings that training cannot go with.

        Raises:
            ConfigError: parts to unfreeze that do not exist, or of a backbone that is frozen for good, or a factor of
                a part that learns already.
        """
        if not self.unfreeze_at:
            return
        if self.frozen:
            raise ConfigError("model.unfreeze trains parts of the backbone, but model.frozen is true: leave one out")
        if self.pretraining and not self.weights:
            raise ConfigError(
                f"model.unfreeze keeps what a backbone has learned, but this {type(self).__name__} begins at random: "
                "add --model.weights to continue a pretraining, or leave it out"
            )
        learning: set[str] = set()
        for _, part, factor in self.unfreeze_at:
            own = self.part(part)
            if factor is not None and own <= learning:
                raise ConfigError(
                    f"model.unfreeze has a factor {factor:g} for {part}, all of which learns already by what stands "
                    "before it, at its own rate: name each part once, the larger ones last"
                )
            learning |= own

    def lr_factors(self) -> dict[str, float]:
        factors: dict[str, float] = {}
        for _, part, factor in reversed(self.unfreeze_at):  # the first that names a parameter counts
            factors |= dict.fromkeys(self.part(part), 1.0 if factor is None else factor)
        return factors

    def part(self, name: str) -> set[str]:
        """Names of the parameters of a part: `head`, `all`, `stage0` to the last stage, or a layer of the backbone.

        Raises:
            ConfigError: there is none of this name; gives those there are.
        """
        backbone: Any = self.backbone
        inside = {f"backbone.net.{own}": own for own, _ in backbone.net.named_parameters()}
        every = {own for own, _ in self.named_parameters()}
        if name in ("all", "head"):
            return every if name == "all" else every - inside.keys()
        found = stages(self.reach)
        known = found.get(name) or {own for own in inside.values() if own.startswith(f"{name}.")}
        if not known:
            layers = ", ".join(child for child, layer in backbone.net.named_children() if list(layer.parameters()))
            raise ConfigError(
                f"model.unfreeze names {name}, which {backbone.name} does not have: its parts are head, "
                f"{', '.join(found)} and all, or its layers {layers}"
            )
        return {own for own, inner in inside.items() if inner in known}

    def lock(self, epoch: int) -> None:
        """Lock the parameters of all parts that do not learn in an epoch, counted from 0."""
        self.locked = self.locked_in(epoch)
        self.train(self.training)

    def locked_in(self, epoch: int) -> frozenset[str]:
        """Names of the parameters that do not learn in an epoch, counted from 0."""
        learning = set().union(*(self.part(thaw.part) for thaw in self.unfreeze_at if thaw.epoch <= epoch))
        return frozenset(name for name, _ in self.named_parameters() if name not in learning)

    def unlock(self) -> None:
        """Let all parameters learn again, after the training."""
        self.locked = frozenset()

    def train(self, mode: bool = True) -> "Unfreezing":
        super().train(mode)
        for prefix, layer in self.named_modules() if mode and self.locked else ():
            own = [f"{prefix}.{name}" for name, _ in layer.named_parameters(recurse=False)]
            if own and self.locked.issuperset(own) and prefix.startswith("backbone."):
                layer.eval()
        return self


class GradualUnfreezing(L.Callback):
    """Lock and unlock the parts of an `Unfreezing` task at the start of each epoch.

    The optimizer holds all parameters from the start and skips those without a gradient, so that its state resumes as
    it is. On one device nothing is computed for locked parameters; on several their gradients are dropped, because the
    processes wait for the gradients of all parameters that learned when the training began.
    """

    def __init__(self) -> None:
        self.epoch = -1
        self.learning: list[tuple[str, nn.Parameter]] = []

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self.learning = [(name, p) for name, p in pl_module.named_parameters() if p.requires_grad]
        late = [thaw for thaw in pl_module.unfreeze_at if 0 < (trainer.max_epochs or 0) <= thaw.epoch]
        if late:
            parts = ", ".join(f"{thaw.epoch}:{thaw.part}" for thaw in late)
            rank_zero_warn(f"model.unfreeze {parts} is never reached: trainer.max_epochs is {trainer.max_epochs}")

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch:
            return
        self.epoch = trainer.current_epoch
        before = pl_module.locked_in(self.epoch - 1) if self.epoch else None
        pl_module.lock(self.epoch)
        if trainer.world_size == 1:
            for name, parameter in self.learning:
                parameter.requires_grad_(name not in pl_module.locked)
        if pl_module.locked != before:
            count = sum(p.numel() for name, p in self.learning if name not in pl_module.locked)
            rank_zero_info(f"epoch {self.epoch + 1}: {count:,} parameters learn")
            if batch_idx == 0:
                self._forget(trainer.optimizers)

    def _forget(self, optimizers: list[Optimizer]) -> None:
        """Begin L-BFGS anew: the gradients it remembers were without those of the parts that learn from now on."""
        for optimizer in optimizers:
            if isinstance(optimizer, LBFGS):
                optimizer.state.clear()

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        for name, parameter in self.learning:
            if name in pl_module.locked:
                parameter.grad = None

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.unlock()
        for _, parameter in self.learning:
            parameter.requires_grad_(True)


def read_schedule(text: str) -> list[Thaw]:
    """Parts of `EPOCHS:PART,EPOCHS:PART@FACTOR`, in order of the epochs.

    Raises:
        ConfigError: other text, a factor of 0 or less, or nothing that learns from the start.
    """
    found = [re.fullmatch(r"\s*(\d+):([\w.]+)(?:@([\d.]+(?:e-?\d+)?))?\s*", item) for item in text.split(",")]
    try:
        thaws = [Thaw(int(one[1]), one[2], float(one[3]) if one[3] else None) for one in found if one]
    except ValueError:  # 1.2.3
        thaws = []
    positive = all(thaw.factor is None or 0 < thaw.factor < math.inf for thaw in thaws)
    if len(thaws) < len(found) or not positive or min(thaw.epoch for thaw in thaws) > 0:
        raise ConfigError(
            f"model.unfreeze is {text!r}, but must be EPOCHS:PART,EPOCHS:PART with a part that learns after 0 epochs, "
            "such as 0:head,2:stage4,4:all, and factors of the learning rate above 0, such as 2:stage4@0.1"
        )
    return sorted(thaws, key=lambda thaw: thaw.epoch)


def stages(reach: Reach) -> dict[str, set[str]]:
    """Names of the parameters in the backbone's `net` by stage: those that a map depends on and no finer one.

    Layers behind the coarsest map belong to the last stage.
    """
    found: dict[str, set[str]] = {}
    below: set[str] = set()
    for level, names in enumerate(reach.maps):
        found[f"stage{level}"] = names - below
        below |= names
    found[f"stage{len(reach.maps) - 1}"] |= reach.pooled - below
    return {name: own for name, own in found.items() if own}
