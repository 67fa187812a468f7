"""Closures of optimizer steps: sharpness-aware minimization, and what L-BFGS needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

Closure = Callable[[], Any]


def wrap_closure(
    optimizer: Optimizer, wrap: Callable[[Closure], Closure], alone: Callable[[], None] | None = None
) -> None:
    """Wrap the closure of every later step, which computes gradients and returns the loss; the latest wraps all others.

    Args:
        optimizer: whose steps they are.
        wrap: closure to closure.
        alone: called in steps without a closure, whose gradients are there already; null refuses them.
    """

    def hook(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is not None:
            return args[:1], {**kwargs, "closure": wrap(closure)}
        if alone is None:
            raise TypeError(f"a step of this {type(optimizer).__name__} needs a closure")
        alone()
        return None

    optimizer.register_step_pre_hook(hook)


def prepare_search(optimizer: Optimizer) -> None:
    """Prepare the closures of L-BFGS: the loss, by which it decides, becomes the mean over all processes.

    It views gradients as rows, which those of channels-last weights are not.
    """

    def wrap(closure: Closure) -> Closure:
        def shared() -> Tensor:
            loss = torch.as_tensor(closure()).detach().clone()
            for parameter in optimizer.param_groups[0]["params"]:
                if parameter.grad is not None:
                    parameter.grad = parameter.grad.contiguous()
            if distributed.is_available() and distributed.is_initialized():
                distributed.all_reduce(loss)
                loss /= distributed.get_world_size()
            return loss

        return shared

    wrap_closure(optimizer, wrap)


class SharpnessAware:
    """Sharpness-aware minimization (Foret et al. 2021): gradients at w + radius * g / |g|, g the gradient at w.

    The second evaluation has the random numbers of the first (the same dropout), and leaves buffers, such as the
    statistics of batch norm, as the first one has made them. There is no state beyond the optimizer's own.

    Args:
        radius: rho, an L2 norm over all parameters, > 0.
        module: whose buffers these are.
    """

    def __init__(self, radius: float, module: nn.Module):
        self.radius, self.module = radius, module

    def attach(self, optimizer: Optimizer) -> None:
        """Take these gradients in every step of an optimizer; a step then needs a closure."""
        wrap_closure(optimizer, lambda closure: lambda: self._ascend(optimizer, closure))

    @torch.no_grad()
    def _ascend(self, optimizer: Optimizer, closure: Closure) -> Any:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        devices = [p.device for p in parameters if p.is_cuda][:1]
        random = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
        with torch.enable_grad():
            loss = closure()
        if loss is None:
            return None
        moved = [p for p in parameters if p.grad is not None]
        gradients = [p.grad for p in moved]
        weights, buffers = ([tensor.clone() for tensor in tensors] for tensors in (moved, self.module.buffers()))
        norm = nn.utils.get_total_norm(gradients)
        torch._foreach_add_(moved, torch._foreach_mul(gradients, self.radius / (norm + 1e-12)))
        torch.set_rng_state(random[0])
        for device, state in zip(devices, random[1], strict=True):
            torch.cuda.set_rng_state(state, device)
        with torch.enable_grad():
            closure()
        torch._foreach_copy_(moved, weights)
        for buffer, value in zip(self.module.buffers(), buffers, strict=True):
            buffer.copy_(value)
        return loss
