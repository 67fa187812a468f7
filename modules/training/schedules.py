"""Learning-rate schedules as functions of the optimizer step, and the scheduler that applies them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from modules.contracts import ConfigError

Schedule = Literal["constant", "cosine", "linear", "step", "inverse_sqrt", "plateau"]


class Rates(LambdaLR):
    """Learning-rate scheduler that resumes at the step of a checkpoint, but with the rates and schedule of this run.

    Groups added later, such as a backbone that is unfrozen during training, start at their own rate and follow the
    schedule from there.

    Args:
        optimizer: of the groups.
        factor: factor on their rates at optimizer step 0, 1, ...
        lr: the setting `optim.lr`.
        scales: rate of each group as a multiple of it: by layers, backbone and batch size.
        patience: validations without improvement after which the rates are multiplied by `gamma`; 0 is never.
        gamma: that factor.
        final: least product of these factors.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: Callable[[int], float],
        lr: float,
        scales: list[float],
        patience: int = 0,
        gamma: float = 0.1,
        final: float = 0.0,
    ):
        self.patience, self.gamma, self.final = patience, gamma, final
        self.lr, self.scales, self.reduced = lr, scales, 1.0
        super().__init__(optimizer, lambda step: self.reduced * factor(step))

    def set_lr(self, lr: float) -> None:
        """Train with another `optim.lr` from here on."""
        self.lr = lr
        self.base_lrs = [lr * scale for scale in self.scales]
        self.apply()

    def apply(self) -> None:
        """Set the rates of all groups to those of the current step, whatever has changed them."""
        self._last_lr = [
            rate * factor(self.last_epoch) for rate, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)
        ]
        for group, rate, base in zip(self.optimizer.param_groups, self._last_lr, self.base_lrs, strict=False):
            group["lr"], group["initial_lr"] = rate, base

    def after_validation(self, waited: int) -> None:
        """Reduce the rates of a plateau.

        Args:
            waited: validations since the best one.
        """
        if self.patience and waited and waited % self.patience == 0:
            before, self.reduced = self.reduced, max(self.reduced * self.gamma, self.final)
            self.apply()
            for group in self.optimizer.param_groups[len(self.base_lrs) :]:
                group["lr"] *= self.reduced / before

    def get_lr(self) -> list[float | Tensor]:
        known = super().get_lr()
        before, now = (self.lr_lambdas[0](max(0, step)) for step in (self.last_epoch - 1, self.last_epoch))
        later = self.optimizer.param_groups[len(known) :]
        return known + [group["lr"] * (now / before if before else 1.0) for group in later]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = ("base_lrs", "lr", "scales", "patience", "gamma", "final")
        super().load_state_dict(state_dict | {name: getattr(self, name) for name in own})
        self.apply()
        later = slice(len(self.base_lrs), None)
        for group, rate in zip(self.optimizer.param_groups[later], state_dict["_last_lr"][later], strict=False):
            group["lr"] = rate


def check_schedule(
    shape: Schedule,
    milestones: Sequence[float] | None,
    gamma: float | None,
    period: float | None,
    patience: int | None,
) -> None:
    """Refuse impossible settings, and those of another schedule; all but the first as of `Optim`, null where unset.

    Raises:
        ConfigError: names the setting.
    """
    takes = {"step": ("milestones", "gamma", "period"), "plateau": ("gamma", "patience")}
    given = {"milestones": milestones, "gamma": gamma, "period": period, "patience": patience}
    for name, value in given.items():
        if value is not None and name not in takes.get(shape, ()):
            having = " or ".join(other for other, names in takes.items() if name in names)
            raise ConfigError(
                f"optim.{name} is {value}, but optim.schedule is {shape}: set that to {having}, or leave {name} out"
            )
    if gamma is not None and not 0 < gamma <= 1:
        raise ConfigError(f"optim.gamma is {gamma:g}, but it is a factor in (0, 1], such as 0.1")
    for name, value in (("period", period), ("patience", patience)):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"optim.{name} is {value:g}, but must be above 0")
    if milestones is None:
        return
    points = list(milestones)
    if period is not None:
        raise ConfigError(f"optim.milestones are {points} and period {period:g}: leave one of them out")
    mixed = points and points[0] < 1 <= points[-1]
    real = all(0 < point < math.inf for point in points)
    if not points or not real or points != sorted(set(points)) or mixed:
        raise ConfigError(
            f"optim.milestones are {points}, but must ascend: epochs, such as [30, 60, 90], or fractions of the "
            "training below 1, such as [0.6, 0.85]"
        )


def schedule(
    shape: Schedule,
    steps: int,
    warmup: int,
    final: float = 0.0,
    milestones: Sequence[float] = (),
    gamma: float = 0.1,
    period: float = math.inf,
) -> Callable[[int], float]:
    """The factor on the learning rate at optimizer step 0, 1, ..., steps - 1; over `warmup` steps it rises linearly.

    Args:
        shape: of the schedule; `plateau` is constant here, as it depends on validations.
        steps: optimizer steps in all.
        warmup: the first of them.
        final: factor at the end of `cosine` and `linear`.
        milestones: steps at which `step` multiplies by `gamma`, counted from the start, warmup included.
        gamma: factor of `step`.
        period: steps after each of which `step` multiplies by `gamma`.
    """

    def factor(step: int) -> float:
        rise = (step + 1) / warmup if step < warmup else 1.0
        if shape == "step":
            return rise * gamma ** (sum(step >= milestone for milestone in milestones) + step // period)
        if step < warmup:
            return rise
        done = min(1.0, (step - warmup) / max(1, steps - warmup))
        if shape == "cosine":
            return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
        if shape == "linear":
            return final + (1 - final) * (1 - done)
        if shape == "inverse_sqrt":
            return math.sqrt(max(1, warmup) / max(1, step + 1))
        return 1.0

    return factor
