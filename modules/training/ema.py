"""Exponential moving average (EMA) of tensors."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def follow(averages: Iterable[Tensor], current: Iterable[Tensor], share: float) -> None:
    """EMA update: move each average by `share`, 0..1, toward its current tensor; integer tensors are copied."""
    pairs = list(zip(averages, current, strict=True))
    ours, theirs = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(ours, theirs, share)
    for average, whole in pairs:
        if not average.is_floating_point():
            average.copy_(whole)


def share_at(decay: float, step: int) -> float:
    """EMA warmup: 1 - decay, but more in the first steps, 1, 2, ..., so that short runs forget the initialization."""
    return 1 - min(decay, (1 + step) / (10 + step))
