"""Losses on class scores."""

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Focal loss (Lin et al. 2017): (1 - p_t)^gamma * CE, which down-weights easy samples; gamma 0 is CE.

    Args:
        logits: (B, C).
        target: int64 (B,) classes, or float (B, C) probabilities.
        gamma: exponent that down-weights easy samples, >= 0.
        weight: (C,) weight per class; averaged over samples as cross_entropy does it.

    Returns:
        A scalar.
    """
    logs = logits.log_softmax(1)
    probabilities = target if target.is_floating_point() else functional.one_hot(target, logits.shape[1]).to(logs)
    if weight is not None:
        probabilities = probabilities * weight
    loss = -(probabilities * focal_factor(logs, gamma) * logs).sum()
    return loss / (len(logits) if target.is_floating_point() else probabilities.sum())


def focal_factor(logs: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma of log-probabilities, in their shape."""
    # At p = 1 the slope is infinite for a gamma below 1, and infinity times nothing would be the gradient.
    return (-logs.expm1()).clamp_min(torch.finfo(logs.dtype).tiny) ** gamma
