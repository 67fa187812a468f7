"""Patience: count of validations without improvement, for early stopping and for the plateau schedule."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
from torch import Tensor

from modules.contracts import ConfigError


@dataclass
class Patience:
    """Count of validations since the best one.

    Only a better monitor is an improvement, an equal one is not. While the monitor has had a single value, as the
    average precision of a detector that finds nothing yet, a lower loss is an improvement too. A nan is none.

    Args:
        best: monitor of the best validation; null before the first.
        loss: lowest loss so far.
        moved: whether two validations had different monitors.
        waited: validations since the best one.
    """

    best: float | None = None
    loss: float = math.inf
    moved: bool = False
    waited: int = 0

    def watch(self, metrics: Mapping[str, Tensor], task: Any, setting: str) -> int:
        """Count a validation by its logged metrics, as `update` does.

        Args:
            metrics: by log name.
            task: has `monitor`, its `mode` and the `fallback` loss.
            setting: that waits, and its value, for the message.

        Raises:
            ConfigError: the monitor is not logged.
        """
        if (score := metrics.get(task.monitor)) is None:
            raise ConfigError(f"{setting}, but {task.monitor} is not logged: choose another, or leave it out")
        loss = metrics.get(task.fallback)
        return self.update(score.item(), task.mode, None if loss is None else loss.item())

    def update(self, score: float, mode: Literal["min", "max"], loss: float | None = None) -> int:
        """Count a validation; returns how many have passed since the best one, 0 if it is the best.

        Args:
            score: its monitor.
            mode: whether lower or higher monitors are better.
            loss: its loss; null where none is logged.
        """
        best = self.best
        better = best is None or (score < best if mode == "min" else score > best)
        self.moved |= best is not None and score != best
        lower = loss is not None and loss < self.loss
        if math.isfinite(score) and (better or (lower and not self.moved)):
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        if loss is not None and lower:
            self.loss = loss
        return self.waited


def unvalidated(trainer: L.Trainer) -> str:
    """The reason why nothing is validated, with its remedy; empty where something is."""
    if trainer.limit_val_batches == 0:
        return "trainer.limit_val_batches is 0, so that nothing is validated: raise it"
    data: Any = getattr(trainer, "datamodule", None)
    if trainer.enable_validation if data is None else data.has("val"):
        return ""
    return "there is no validation set: add one (--data.val_split)"
