"""Averages of tensors that something else moves."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def follow(averages: Iterable[Tensor], current: Iterable[Tensor], share: float) -> None:
    """Moves each average by `share`, 0..1, of the way to what it follows; whole numbers are taken as they are."""
    pairs = list(zip(averages, current, strict=True))
    ours, theirs = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(ours, theirs, share)
    for average, whole in pairs:
        if not average.is_floating_point():
            average.copy_(whole)


def share_at(decay: float, step: int) -> float:
    """1 - decay, but more in the first steps, 1, 2, ..., so that short runs forget their random beginning."""
    return 1 - min(decay, (1 + step) / (10 + step))
