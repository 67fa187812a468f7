"""Attribution by gradients at the input: saliency, gradient x input, SmoothGrad, integrated gradients."""

import numpy as np
import torch
from torch import Tensor

from modules.insight.layers import gradients, leaf
from modules.insight.subject import Subject

STEPS, COPIES, NOISE = 50, 25, 0.15


def gradient(subject: Subject, inputs: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
    """Gradient of each sample's score at its input, of the input's shape.

    Args:
        subject: what is explained.
        inputs: other inputs than the subject's.
        rows: sample of the subject of each.
    """
    inputs, rows = subject.inputs if inputs is None else inputs, subject.rows if rows is None else rows
    found = []
    with subject.gradients_on():
        for part, its in zip(inputs.split(subject.at_once), rows.split(subject.at_once), strict=True):
            at = leaf(part)
            found += gradients(subject.score(at, its), [at])
    return torch.cat(found)


def saliency(subject: Subject) -> Tensor:
    """Absolute gradient, maximum over channels, (B, H, W) or (B, T, H, W) (Simonyan et al. 2014)."""
    return gradient(subject).abs().amax(1)


def gradient_x_input(subject: Subject) -> Tensor:
    """Gradient times input, of the input's shape (Shrikumar et al. 2016)."""
    return gradient(subject) * subject.inputs


def smoothgrad(subject: Subject, copies: int = COPIES, noise: float = NOISE, seed: int = 0) -> Tensor:
    """SmoothGrad: mean gradient over noisy copies, absolute and maximum over channels (Smilkov et al. 2017).

    Args:
        subject: what is explained.
        copies: of each input.
        noise: standard deviation as a share of the range of the input's values.
        seed: of the noise.

    Returns:
        (B, H, W) or (B, T, H, W).
    """
    inputs, generator = subject.inputs, torch.Generator().manual_seed(seed)
    flat = inputs.flatten(1)
    spread = (noise * (flat.amax(1) - flat.amin(1))).view(-1, *[1] * (inputs.ndim - 1))
    total = torch.zeros_like(inputs)
    for _ in range(copies):
        total += gradient(subject, inputs + spread * torch.randn(inputs.shape, generator=generator).to(inputs))
    return (total / copies).abs().amax(1)


def integrated_gradients(subject: Subject, steps: int = STEPS, baseline: float | Tensor = 0.0) -> Tensor:
    """Integrated gradients by Gauss-Legendre quadrature, of the input's shape (Sundararajan et al. 2017).

    Its sum is the score of the input less that of the baseline.

    Args:
        subject: what is explained.
        steps: places on the way from the baseline.
        baseline: value that means nothing; 0 is the mean color of normalized images.
    """
    places, weights = np.polynomial.legendre.leggauss(steps)
    way, total = subject.inputs - baseline, torch.zeros_like(subject.inputs)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += float(weight) * gradient(subject, baseline + float(place) * way)
    return total * way
