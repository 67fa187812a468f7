"""Gradual unfreezing: parts of a network that begin to learn at given epochs of the training."""

import re
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.optim import Optimizer

from modules.backbones.reach import Reach
from modules.contracts import ConfigError
from tasks.base import Task


class Unfreezing(Task):
    """Base of tasks with a backbone whose parts can be unfrozen during training.

    Args:
        unfreeze: gradual unfreezing (Howard and Ruder 2018), such as `0:head,2:stage4,4:all`: from the start of epoch 2
            on, stage 4 of the backbone learns beside the head, and from epoch 4 on everything. Until then a part stays
            as it is, with its normalization layers in eval mode. Stages are the levels of the backbone's maps, from
            stage0; layers go by their names in the backbone.

    Attributes: `locked` are the names of the parameters that do not learn yet.
    """

    reach: Reach
    frozen: bool

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
            ConfigError: parts to unfreeze that do not exist, or of a backbone that is frozen for good.
        """
        if not self.unfreeze_at:
            return
        if self.frozen or self.pretraining:
            why = "model.frozen is true" if self.frozen else f"{type(self).__name__} trains the whole backbone"
            raise ConfigError(f"model.unfreeze trains parts of the backbone at given epochs, but {why}: leave one out")
        for _, part in self.unfreeze_at:
            self.part(part)

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
        learning = set().union(*(self.part(part) for first, part in self.unfreeze_at if first <= epoch))
        self.locked = frozenset(name for name, _ in self.named_parameters() if name not in learning)
        self.train(self.training)

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

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.current_epoch == self.epoch:
            return
        self.epoch = trainer.current_epoch
        before = pl_module.locked if self.epoch else None
        pl_module.lock(self.epoch)
        if trainer.world_size == 1:
            for name, parameter in self.learning:
                parameter.requires_grad_(name not in pl_module.locked)
        if pl_module.locked != before:
            count = sum(p.numel() for name, p in self.learning if name not in pl_module.locked)
            rank_zero_info(f"epoch {self.epoch}: {count:,} parameters learn")

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: Any, optimizer: Optimizer) -> None:
        for name, parameter in self.learning:
            if name in pl_module.locked:
                parameter.grad = None

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        pl_module.unlock()
        for _, parameter in self.learning:
            parameter.requires_grad_(True)


def read_schedule(text: str) -> list[tuple[int, str]]:
    """Epochs and parts of `EPOCH:PART,EPOCH:PART`, in order of the epochs.

    Raises:
        ConfigError: other text, or nothing that learns from epoch 0 on.
    """
    found = [re.fullmatch(r"\s*(\d+):([\w.]+)\s*", item) for item in text.split(",")]
    pairs = [(int(one[1]), one[2]) for one in found if one]
    if len(pairs) < len(found) or min(pairs)[0] > 0:
        raise ConfigError(
            f"model.unfreeze is {text!r}, but must be EPOCH:PART,EPOCH:PART with a part that learns from epoch 0 on, "
            "such as 0:head,2:stage4,4:all"
        )
    return sorted(pairs)


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
