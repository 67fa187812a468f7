"""Adversarial attacks: small changes of images that change a classifier's answer (Goodfellow et al. 2015).

Images are floats (B, ...) in 0..1, before normalization; all axes but the first belong to one sample. A network takes
them to logits (B, C), or (B, C, ...) with a class for every place; it must be in evaluation mode, so that samples do
not depend on each other. No gradient of a parameter is computed or changed, and inference mode around a call does not
matter: `gradient` raises where nothing would arrive at the images.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from modules.contracts import IGNORE, ConfigError

Network = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and labels to the sum of the losses of the samples."""
Norm = Literal["linf", "l2"]


def cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Sum of cross-entropies: a sum does not shrink the gradients of a large batch below what floats can hold.

    Args:
        logits: (B, C), or (B, C, ...).
        label: int64 (B,) or (B, ...) with `IGNORE` for places without a class, or float (B, C) probabilities.
    """
    ignored = IGNORE if label.ndim > 1 and not label.is_floating_point() else -100  # torch's own, no class
    return functional.cross_entropy(logits.float(), label, ignore_index=ignored, reduction="sum")


def gradient(network: Network, image: Tensor, label: Tensor, loss: Loss = cross_entropy) -> Tensor:
    """Gradient of the loss with respect to the images, in their shape.

    Raises:
        ConfigError: the answers do not depend on the images by operations that have a gradient.
    """
    with torch.inference_mode(False), torch.enable_grad():
        image = image.detach().clone().requires_grad_()  # a clone of an inference tensor is an ordinary one
        total = loss(network(image), label.clone())
        found = torch.autograd.grad(total, image, allow_unused=True)[0] if total.requires_grad else None
    if found is None:
        raise ConfigError("no gradient arrives at the images: some layer of the network detaches its input")
    return found


def fgsm(
    network: Network, image: Tensor, label: Tensor, eps: float, targeted: bool = False, loss: Loss = cross_entropy
) -> Tensor:
    """Fast gradient sign method: one step of `eps` for every pixel (Goodfellow et al. 2015).

    Args:
        network: images to logits.
        image: (B, ...) in 0..1.
        label: true classes; with `targeted` those to be answered.
        eps: largest change of a pixel, 0..1.
        targeted: lower the loss of `label` instead of raising it.
        loss: that is raised.

    Returns:
        Images in 0..1.
    """
    return pgd(network, image, label, eps, 1, eps, "linf", None, targeted, loss)


def pgd(
    network: Network,
    image: Tensor,
    label: Tensor,
    eps: float,
    steps: int = 10,
    step_size: float | None = None,
    norm: Norm = "linf",
    start: Tensor | None = None,
    targeted: bool = False,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Projected gradient descent within a ball around each image (Madry et al. 2018).

    Args:
        network: images to logits.
        image: (B, ...) in 0..1.
        label: as of `fgsm`.
        eps: radius of the ball; of `linf` the largest change of a pixel, of `l2` the length of the change.
        steps: number of gradients.
        step_size: null is 2.5 eps / steps.
        norm: of the ball.
        start: perturbation (B, ...) to begin with, as of `random_start`; null is none.
        targeted: lower the loss of `label` instead of raising it.
        loss: that is raised.

    Returns:
        Images in 0..1.
    """
    image = image.detach()
    step = (2.5 * eps / steps if step_size is None else step_size) * (-1 if targeted else 1)
    changed = image if start is None else (image + start).clamp(0, 1)
    for _ in range(steps):
        slope = gradient(network, changed, label, loss)
        if norm == "linf":
            change = (changed + step * slope.sign() - image).clamp(-eps, eps)
        else:
            change = changed + step * slope / (lengths(slope) + 1e-10) - image
            change = change * (eps / lengths(change)).clamp(max=1)
        changed = (image + change).clamp(0, 1)
    return changed


def random_start(image: Tensor, eps: float, norm: Norm, keys: Sequence[int]) -> Tensor:
    """Random perturbation within the ball for each image, a function of its key alone, whatever the batch.

    Uniform in `linf`; in `l2` of uniform direction and uniform length up to `eps`.

    Args:
        image: (B, ...); gives shape, type and device.
        eps: radius.
        norm: of the ball.
        keys: B whole numbers, 0 or more.
    """
    generator, found = torch.Generator(image.device), torch.empty_like(image)
    for row, key in zip(found, keys, strict=True):
        generator.manual_seed(key)
        if norm == "linf":
            row.uniform_(-eps, eps, generator=generator)
        else:
            row.normal_(generator=generator)
            length = torch.rand((), generator=generator, device=image.device)
            row.mul_(eps * length / row.norm())
    return found


def deepfool(
    network: Network, image: Tensor, label: Tensor, steps: int = 50, overshoot: float = 0.02, rivals: int = 10
) -> Tensor:
    """DeepFool: step over the nearest linearized boundary until the answer changes (Moosavi-Dezfooli et al. 2016).

    Images whose answer is not `label` stay as they are.

    Args:
        network: images to logits (B, C).
        image: (B, ...) in 0..1.
        label: int64 (B,).
        steps: most steps.
        overshoot: share of each step that is added to it.
        rivals: classes of the highest logits whose boundaries are looked at, the own class included.

    Returns:
        Images in 0..1.
    """
    changed = image.detach().clone()
    for _ in range(steps):
        with torch.no_grad():
            logits = network(changed)
        active = (logits.argmax(1) == label).nonzero()[:, 0]
        if not len(active):
            break
        changed[active] = _over_boundary(network, changed[active], label[active], overshoot, rivals)
    return changed


def _over_boundary(network: Network, image: Tensor, label: Tensor, overshoot: float, rivals: int) -> Tensor:
    """One step of DeepFool for images that are answered with `label`, of the highest logit."""
    with torch.inference_mode(False), torch.enable_grad():
        image = image.clone().requires_grad_()
        logits = network(image).float()
        gaps = logits - logits.gather(1, label[:, None])
        others = gaps.detach().scatter(1, label[:, None], -math.inf)
        order = others.topk(min(rivals, gaps.shape[1]) - 1).indices
        best = torch.full((len(image),), math.inf, device=image.device)
        step = torch.zeros_like(image)
        for rank in range(order.shape[1]):
            gap = gaps.gather(1, order[:, rank : rank + 1])[:, 0]
            slope = torch.autograd.grad(gap.sum(), image, retain_graph=rank + 1 < order.shape[1])[0]
            length = lengths(slope).clamp_min(1e-20)
            distance = gap.detach().abs() / length.flatten()
            nearer = distance < best
            best = torch.where(nearer, distance, best)
            way = distance.view_as(length) * slope / length
            step = torch.where(nearer.view_as(length), way, step)
    return (image.detach() + (1 + overshoot) * step).clamp(0, 1)


def fooling_image(
    network: Network, image: Tensor, target: Tensor, steps: int = 100, step_size: float = 0.2
) -> tuple[Tensor, Tensor]:
    """Gradient ascent on the logit of a class until it is the answer, by steps of one length (Stanford CS231n).

    The change has no bound but 0..1 of the pixels.

    Args:
        network: images to logits (B, C).
        image: (B, ...) in 0..1.
        target: int64 (B,), classes to be answered.
        steps: most steps.
        step_size: length of a step over all pixels.

    Returns:
        Images in 0..1, and the steps that each took, int64 (B,); `steps` where the answer is still another.
    """
    changed, taken = image.detach().clone(), torch.zeros_like(target)
    for _ in range(steps):
        with torch.no_grad():
            active = (network(changed).argmax(1) != target).nonzero()[:, 0]
        if not len(active):
            break
        slope = gradient(network, changed[active], target[active], _logits)
        changed[active] = (changed[active] + step_size * slope / (lengths(slope) + 1e-10)).clamp(0, 1)
        taken[active] += 1
    return changed, taken


def _logits(logits: Tensor, label: Tensor) -> Tensor:
    return logits.gather(1, label[:, None]).sum()


def lengths(image: Tensor) -> Tensor:
    """L2 norm of each sample (B, ...), as (B, 1, ...)."""
    return image.flatten(1).norm(dim=1).view(-1, *[1] * (image.ndim - 1))


def parse_eps(name: str, text: str | float, largest: float = 1.0) -> float:
    """A size of perturbations in pixels 0..1, typed as a number or a fraction: 0.03 or 8/255.

    Args:
        name: of the setting.
        text: as typed.
        largest: that makes sense.

    Raises:
        ConfigError: it is no number, or not above 0 and up to `largest`.
    """
    try:
        top, _, bottom = str(text).partition("/")
        value = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigError(f"{name} is {text!r}, but must be a number or a fraction such as 8/255") from error
    if not 0 < value <= largest:
        meant = f": did you mean {value:g}/255?" if 1 < value <= 255 and "/" not in str(text) and largest == 1 else ""
        raise ConfigError(
            f"{name} is {text}, but pixels are 0..1, so that it must be above 0, at most {largest:g}{meant}"
        )
    return value
