"""Region losses (Dice, Jaccard, Tversky, Lovász): logits (B, C, h, w) against int64 (B, h, w) classes, 255 = ignore.

A region is made of all labeled pixels of all images of the batch. Each loss is the mean over the classes that the
batch's target shows; the others have no say. segmentation_models.pytorch divides by all C instead, which makes its
Dice, Jaccard and Tversky losses smaller by the factor shown / C. Ignored pixels take no part, a batch of nothing else
gives 0 with a gradient of zeros, and all is computed in float32, without the host waiting for the device.
"""

import torch
from torch import Tensor

from modules.contracts import IGNORE


def tversky(logits: Tensor, target: Tensor, alpha: float = 0.3, beta: float = 0.7) -> Tensor:
    """1 - Tversky index TP / (TP + alpha FP + beta FN), mean over the classes shown (Salehi et al. 2017).

    TP, FP and FN are sums of probabilities over all labeled pixels of the batch, per class.

    Args:
        logits: (B, C, h, w).
        target: int64 (B, h, w), 255 = ignore.
        alpha: weight of false positives, >= 0.
        beta: weight of false negatives, >= 0; above alpha it favors recall.
    """
    truth, probabilities = _one_hot(target, logits.shape[1]), logits.float().softmax(1)
    over = (0, 2, 3)
    hits = (probabilities * truth).sum(over)
    said = (probabilities * (target != IGNORE)[:, None]).sum(over)
    pixels = truth.sum(over)
    index = hits / (hits + alpha * (said - hits) + beta * (pixels - hits)).clamp_min(1e-7)
    return weighted_mean((1 - index) * (pixels > 0), pixels > 0)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft Dice 2 TP / (2 TP + FP + FN), mean over the classes shown (Milletari et al. 2016), without smoothing."""
    return tversky(logits, target, 0.5, 0.5)


def jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """1 - soft IoU TP / (TP + FP + FN), mean over the classes shown (Rahman and Wang 2016), without smoothing."""
    return tversky(logits, target, 1.0, 1.0)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-softmax, the convex surrogate of 1 - IoU, mean over the classes shown (Berman et al. 2018).

    One sort over all pixels of the batch per class: the slowest loss here.
    """
    truth, probabilities = _one_hot(target, logits.shape[1]), logits.float().softmax(1)
    # An error of 0 sorts ignored pixels to the end, where they change nothing.
    errors = (truth.float() - probabilities).abs().masked_fill((target == IGNORE)[:, None], 0)
    surrogates = []
    for error, inside in zip(errors.transpose(0, 1).flatten(1), truth.transpose(0, 1).flatten(1), strict=True):
        error, order = error.sort(descending=True)
        surrogates.append((error * _jaccard_steps(inside[order])).sum())
    shown = truth.any(3).any(2).any(0)
    return weighted_mean(torch.stack(surrogates) * shown, shown)


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """The sum of `values` by that of `weights`; by 1 where nothing has a weight, so that nothing becomes nan."""
    total = weights.sum()
    return values.sum() / torch.where(total > 0, total, 1)


def _one_hot(target: Tensor, classes: int) -> Tensor:
    """bool (B, C, h, w); none where ignored."""
    return target[:, None] == torch.arange(classes, device=target.device)[:, None, None]


def _jaccard_steps(truth: Tensor) -> Tensor:
    """The gradient of the Lovasz extension of 1 - IoU (Berman et al. 2018, algorithm 1).

    Args:
        truth: bool (N,), whether the pixel is of the class, the pixel of the largest error first.

    Returns:
        float32 (N,): by how much 1 - IoU grows as each pixel, in turn, is taken for wrong.
    """
    rank, found = torch.arange(1, len(truth) + 1, device=truth.device), truth.cumsum(0)
    lost = rank / (found[-1] + rank - found)
    return lost.diff(prepend=lost.new_zeros(1))
