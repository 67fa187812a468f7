"""Penalties of weights: L1, L2 and their sum (elastic net), in the loss or decoupled from its gradients."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from modules.training.closures import Closure, wrap_closure


class Penalty:
    """Elastic net of the weights w: l1 * |w|_1 + l2 / 2 * |w|_2^2.

    In the loss, its gradient is added to that of the loss, after clipping; the losses that are logged are without it.
    Decoupled, weights are multiplied by 1 - lr * l2 before the optimizer's update, as AdamW does it, and
    soft-thresholded by lr * l1 after it: a proximal step, under which weights become exactly 0.

    Args:
        l1: weight of the L1 norm, >= 0.
        l2: weight decay, >= 0.
        decoupled: from the gradients.
        exempt: ids of parameters without penalty.
    """

    def __init__(self, l1: float, l2: float, decoupled: bool, exempt: Collection[int]):
        self.l1, self.l2, self.decoupled, self.exempt = l1, l2, decoupled, exempt

    def attach(self, optimizer: Optimizer) -> None:
        """Penalize every step of an optimizer."""

        def wrap(closure: Closure) -> Closure:
            def penalized() -> Any:
                loss = closure()
                if loss is not None:
                    self._before_update(optimizer)
                searches = loss is not None and isinstance(optimizer, LBFGS)  # others do not ask for its value
                return loss + self.value(optimizer) if searches else loss

            return penalized

        wrap_closure(optimizer, wrap, lambda: self._before_update(optimizer))
        if self.decoupled and self.l1:
            optimizer.register_step_post_hook(self._threshold)

    @torch.no_grad()
    def value(self, optimizer: Optimizer) -> Tensor:
        """The penalty, a scalar."""
        weights = [p for group in optimizer.param_groups for p in self._penalized(group)]
        return sum((self.l1 * p.abs().sum() + self.l2 / 2 * p.square().sum() for p in weights), torch.zeros(()))

    @torch.no_grad()
    def _before_update(self, optimizer: Optimizer) -> None:
        scale = getattr(optimizer, "grad_scale", None)  # of a fused optimizer in float16, which unscales later
        factor = 1.0 if scale is None else float(scale)
        for group in optimizer.param_groups:
            weights = self._penalized(group)
            if not weights:
                continue
            if self.decoupled:
                torch._foreach_mul_(weights, 1 - float(group["lr"]) * self.l2)
                continue
            gradients = [p.grad for p in weights if p.grad is not None]
            torch._foreach_add_(gradients, weights, alpha=factor * self.l2)
            if self.l1:
                torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=factor * self.l1)

    @torch.no_grad()
    def _threshold(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for group in optimizer.param_groups:
            most = float(group["lr"]) * self.l1
            for p in self._penalized(group):
                p.sub_(p.clamp(-most, most))

    def _penalized(self, group: dict[str, Any]) -> list[Tensor]:
        """Parameters of a group that have a gradient and a penalty; of groups added later, those that would decay."""
        trained = [p for p in group["params"] if p.grad is not None]
        return [p for p in trained if p.ndim > 1 and id(p) not in self.exempt]
