"""Losses on class scores."""

from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy that fades for samples already right (Lin et al. 2017): (1 - p_t)^gamma * CE; gamma 0 is CE.

    Args:
        logits: (B, C).
        target: int64 (B,) classes, or float (B, C) probabilities.
        gamma: how strongly easy samples fade, >= 0.
        weight: (C,) weight per class; averaged over samples as cross_entropy does it.

    Returns:
        A scalar.
    """
    logs = logits.log_softmax(1)
    probabilities = target if target.is_floating_point() else functional.one_hot(target, logits.shape[1]).to(logs)
    if weight is not None:
        probabilities = probabilities * weight
    loss = -(probabilities * (1 - logs.exp()) ** gamma * logs).sum()
    return loss / (len(logits) if target.is_floating_point() else probabilities.sum())
