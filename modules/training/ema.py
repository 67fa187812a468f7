"""Exponential moving average (EMA) of weights: of a whole task, of a GAN's generator, of the teacher of a student."""

from itertools import chain

import torch
from torch import nn


@torch.no_grad()
def ema_update(average: nn.Module, network: nn.Module, decay: float, buffers: bool = True) -> None:
    """Move a copy of a network toward it: average = decay * average + (1 - decay) * network.

    Nothing waits for the device, unlike the update of torch.optim.swa_utils.AveragedModel, which reads its counter.

    Args:
        average: changed in place.
        network: of the same structure.
        decay: 0..1.
        buffers: average batch norm statistics too, and copy integers; else parameters alone.
    """
    parts = ((n.parameters(), n.buffers() if buffers else ()) for n in (average, network))
    pairs = list(zip(*(chain(*part) for part in parts), strict=True))
    ours, theirs = zip(*(pair for pair in pairs if pair[0].is_floating_point()), strict=True)
    torch._foreach_lerp_(ours, theirs, 1 - decay)
    for old, new in pairs:
        if not old.is_floating_point():
            old.copy_(new)


def warmed_up(decay: float, step: int) -> float:
    """EMA decay at step 1, 2, ...: lower in the first ones, so that short runs forget the initialization."""
    return min(decay, (1 + step) / (10 + step))
