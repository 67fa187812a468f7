"""Style transfer by optimizing the pixels of an image (Gatys et al. 2016)."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from modules.insight.layers import differentiable, leaf
from modules.style.features import StyleFeatures, StyleWeights, weighted

Solver = Literal["lbfgs", "adam"]
HISTORY = 20  # steps that L-BFGS remembers


def stylize(
    features: StyleFeatures,
    content: Tensor,
    style: Sequence[Tensor],
    weights: StyleWeights,
    start: Tensor | None = None,
    steps: int = 300,
    solver: Solver = "lbfgs",
    lr: float = 0.02,
    each: Callable[[int, dict[str, float], Tensor], None] | None = None,
) -> Tensor:
    """Optimize an image until its content and style are those that are asked for.

    A step is one evaluation of losses and gradient, of pixels clipped to 0..1: what is lost by clipping at the end is
    optimized too.

    Args:
        features: loss network, frozen.
        content: image (1, 3, H, W) in 0..1.
        style: Gram matrices (1, C, C) of each level of `features.style`.
        weights: of the losses.
        start: first image, (1, 3, H, W) in 0..1; null is the content.
        steps: number of steps.
        solver: `lbfgs` or `adam`.
        lr: learning rate of Adam, in pixel values of 0..1.
        each: called after each step with its number from 0, the losses before it, and the image.

    Returns:
        the image of the least loss, (1, 3, H, W) in 0..1.
    """
    with differentiable(features.backbone):
        image = leaf((content if start is None else start).contiguous())
        target, count, best = features.content(content), 0, (float("inf"), image.detach())

        def closure() -> Tensor:
            nonlocal count, best
            losses = features.losses(image.clamp(0, 1), style, target)
            loss = weighted(losses, weights).sum()
            (gradient,) = torch.autograd.grad(loss, image)
            image.grad = gradient.contiguous()
            if loss.item() < best[0]:
                best = loss.item(), image.detach().clone()
            if each is not None and count < steps:
                each(count, {name: value.sum().item() for name, value in losses.items()}, image.detach())
            count += 1
            return loss

        if solver == "lbfgs":
            options = {"max_iter": steps, "max_eval": steps, "history_size": HISTORY, "line_search_fn": "strong_wolfe"}
            torch.optim.LBFGS([image], tolerance_grad=0, tolerance_change=0, **options).step(closure)
        else:
            optimizer = torch.optim.Adam([image], lr)
            for _ in range(steps):
                optimizer.step(closure)
        return best[1].clamp(0, 1)
