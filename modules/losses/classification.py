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


def hinge_loss(logits: Tensor, target: Tensor, power: int = 1, weight: Tensor | None = None) -> Tensor:
    """Multi-class SVM hinge loss (Weston and Watkins 1999): sum over j != y of max(0, s_j - s_y + 1)^power.

    Equal scores cost C - 1. torch's `multi_margin_loss` is this divided by C.

    Args:
        logits: (B, C) scores s.
        target: int64 (B,) classes y, or float (B, C) probabilities, over which the loss is averaged.
        power: 1, or 2 for the squared hinge loss.
        weight: (C,) weight per class; averaged over samples as cross_entropy does it.

    Returns:
        A scalar.
    """
    soft = target.is_floating_point()
    rows, classes = target.nonzero(as_tuple=True) if soft else (slice(None), target)
    scores = logits[rows]
    margins = (scores - scores.gather(1, classes[:, None]) + 1).clamp_min(0) ** power
    losses = margins.sum(1) - 1  # the true class itself; torch's own cannot be differentiated twice
    if weight is not None:
        losses = losses * weight[classes]
    if soft:
        return (losses * target[rows, classes]).sum() / len(target)
    return losses.mean() if weight is None else losses.sum() / weight[classes].sum()


def squared_error(logits: Tensor, target: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Squared error of scores against one-hot targets, summed over classes; its minimum is the class probabilities.

    Args:
        logits: (B, C).
        target: int64 (B,) classes, or float (B, C) probabilities.
        weight: (C,) weight per class; averaged over samples as cross_entropy does it.
        label_smoothing: probability mass spread evenly over all classes, 0..1.

    Returns:
        A scalar.
    """
    soft, classes = target.is_floating_point(), logits.shape[1]
    truth = target if soft else functional.one_hot(target, classes).to(logits)
    wanted = truth * (1 - label_smoothing) + label_smoothing / classes
    losses = (logits - wanted).square().sum(1)
    if weight is None:
        return losses.mean()
    weights = truth @ weight
    return (losses * weights).sum() / (len(target) if soft else weights.sum())


def asymmetric_loss(
    logits: Tensor, target: Tensor, gamma: tuple[float, float] = (0.0, 4.0), margin: float = 0.05
) -> Tensor:
    """Asymmetric loss of several classes at once (Ridnik et al. 2021): the many easy negatives are down-weighted.

    Binary cross-entropy of each class, times (1 - p)^g+ where it is true and p_m^g- where not, with
    p_m = max(0, p - margin) in place of p there; without gradient through the factors, as published.

    Args:
        logits: (B, C).
        target: float (B, C), 0..1.
        gamma: exponents g+ and g-.
        margin: shift of the probability of negatives, 0..1.

    Returns:
        A scalar, the mean over images and classes.
    """
    true = logits.sigmoid()
    false = (1 - true + margin).clamp(max=1)  # 1 - p_m
    least = 1e-8
    losses = target * true.clamp(min=least).log() + (1 - target) * false.clamp(min=least).log()
    if any(gamma):
        with torch.no_grad():
            right = true * target + false * (1 - target)
            factor = (1 - right) ** (gamma[0] * target + gamma[1] * (1 - target))
        losses = losses * factor
    return -losses.mean()


def focal_factor(logs: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma of log-probabilities, in their shape."""
    # At p = 1 the slope is infinite for a gamma below 1, and infinity times nothing would be the gradient.
    return (-logs.expm1()).clamp_min(torch.finfo(logs.dtype).tiny) ** gamma


def jensen_shannon(probabilities: list[Tensor]) -> Tensor:
    """Jensen-Shannon divergence of K distributions (B, C), mean over the batch: that of each to their mean, 0..ln K."""
    log_mean = torch.stack(probabilities).mean(0).clamp(1e-7, 1).log()
    return torch.stack([functional.kl_div(log_mean, one, reduction="batchmean") for one in probabilities]).mean()
