"""Selection of the best checkpoint among the validations of a run."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass
class Validation:
    """Validation metrics of one set of weights.

    Args:
        step: optimizer steps that led to the weights.
        epoch: of the last of them, from 0.
        within: whether the epoch was still going on.
        metrics: by log name.
    """

    step: int = -1
    epoch: int = 0
    within: bool = False
    metrics: dict[str, float] = field(default_factory=dict)

    def add(self, metrics: dict[str, float]) -> None:
        """Add metrics of the same weights that were computed later."""
        self.metrics.update(metrics)

    @property
    def when(self) -> str:
        """Epoch of the weights, and the step where it was not yet over."""
        return f"step {self.step:,} in epoch {self.epoch + 1}" if self.within else f"epoch {self.epoch + 1}"


@dataclass
class Selection:
    """Choice of the best validation by a monitor.

    Of equal validations the later wins. While the monitor has the same value in all of them, which selects nothing, the
    lowest loss wins.

    Args:
        best: monitor of the choice; null before the first.
        loss: of the choice; null where none is logged.
        moved: whether two validations had different monitors.
        count: validations so far.
    """

    best: float | None = None
    loss: float | None = None
    moved: bool = False
    count: int = 0

    def takes(self, score: float, mode: Literal["min", "max"], loss: float | None) -> bool:
        """Record a validation; returns True if it becomes the best.

        Args:
            score: its monitor, no nan.
            mode: whether lower or higher monitors are better.
            loss: its loss; null where none is logged.
        """
        self.count += 1
        if self.best is not None and score != self.best:
            self.moved = True
            if (score > self.best) == (mode == "min"):
                return False
        elif not self.moved and None not in (loss, self.loss) and loss > self.loss:
            return False
        self.best, self.loss = score, loss
        return True

    @property
    def constant(self) -> bool:
        """True when several validations had the same monitor, so that it selected nothing."""
        return self.count > 1 and not self.moved

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Selection":
        """Selection from a `state_dict`; those of older checkpoints have the best value only."""
        return cls(**({"moved": True, "count": 1} | state))
