"""Losses of semantic segmentation: logits (B, C, h, w) against int64 (B, h, w) classes 0..C-1, 255 = ignore.

All are scalars in float32, whatever the logits are in. Ignored pixels take no part in any of them, and a batch of
nothing else gives 0 with a gradient of zeros. Nothing here makes the host wait for the device. The losses of this file
are means over the labeled pixels of the batch, weighted by class as torch does it; those of `regions` over classes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modules.contracts import IGNORE, ConfigError, suggest
from modules.losses.balance import Balance, class_weights
from modules.losses.classification import focal_factor
from modules.losses.regions import dice, jaccard, lovasz, tversky, weighted_mean


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of the labeled pixels, with label smoothing; ln C for constant logits.

    Args:
        logits: (B, C, h, w).
        target: int64 (B, h, w), 255 = ignore.
        weight: (C,) weight per class.
        label_smoothing: probability mass spread evenly over all classes, 0..1.
    """
    return weighted_mean(_cross_entropies(logits, target, weight, label_smoothing), _pixel_weights(target, weight))


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0, weight: Tensor | None = None) -> Tensor:
    """Focal loss (Lin et al. 2017): (1 - p_t)^gamma * CE, which down-weights easy pixels; gamma 0 is CE.

    Over a softmax. segmentation_models.pytorch's FocalLoss is another: one sigmoid per class.

    Args:
        logits: (B, C, h, w).
        target: int64 (B, h, w), 255 = ignore.
        gamma: exponent that down-weights easy pixels, >= 0.
        weight: (C,) weight per class.
    """
    losses, weights = _cross_entropies(logits, target), _pixel_weights(target, weight)
    return weighted_mean(weights * focal_factor(-losses, gamma) * losses, weights)


def ohem(
    logits: Tensor,
    target: Tensor,
    hardest: float = 0.25,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Online hard example mining: mean cross-entropy of the hardest pixels (Wu et al. 2016, "Bootstrapping").

    Args:
        logits: (B, C, h, w).
        target: int64 (B, h, w), 255 = ignore.
        hardest: share of the batch's labeled pixels that counts, rounded up, in (0, 1]: those of the highest loss,
            after `weight`. 1 is cross_entropy.
        weight: (C,) weight per class.
        label_smoothing: probability mass spread evenly over all classes, 0..1.
    """
    losses, void = _cross_entropies(logits, target, weight, label_smoothing), target == IGNORE
    most = math.ceil(hardest * target.numel())  # the device alone knows how many pixels are labeled
    # Ignored pixels rank behind labeled ones without any loss.
    highest, index = losses.masked_fill(void, -1).flatten().topk(most)
    kept = torch.arange(most, device=losses.device) < (hardest * (~void).sum()).ceil()
    return weighted_mean(highest * kept, _pixel_weights(target, weight).flatten()[index] * kept)


TERMS = ("cross_entropy", "focal", "ohem", "dice", "jaccard", "tversky", "lovasz")
USED_BY = {
    "class_weights": ("cross_entropy", "focal", "ohem"),
    "label_smoothing": ("cross_entropy", "ohem"),
    "gamma": ("focal",),
    "alpha": ("tversky",),
    "beta": ("tversky",),
    "hardest": ("ohem",),
}


@dataclass(frozen=True)
class SegmentationLoss:
    """Segmentation loss: a weighted sum of cross-entropy, focal, OHEM, Dice, Jaccard, Tversky and Lovász terms.

    Args:
        terms: factor of each loss, such as {cross_entropy: 1, dice: 1}: `cross_entropy`, `focal`, `ohem`, `dice`,
            `jaccard`, `tversky`, `lovasz`. A factor of 0 only logs it.
        class_weights: one weight per class in the order of the classes, or a rule that takes them from the training
            masks: `median_frequency`, which `auto` is too, or `enet`; for `cross_entropy`, `focal` and `ohem`.
        label_smoothing: probability mass spread evenly over all classes, 0..1; for `cross_entropy` and `ohem`.
        gamma: exponent that down-weights easy pixels, >= 0; for `focal`.
        alpha: weight of false positives, >= 0; for `tversky`.
        beta: weight of false negatives, >= 0; for `tversky`.
        hardest: share of the pixels that counts, those of the highest loss, in (0, 1]; for `ohem`.

    Raises:
        ConfigError: an unknown loss, a value out of range, or a setting that no term uses.
    """

    terms: dict[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    class_weights: list[float] | Balance | None = None
    label_smoothing: float = 0.0
    gamma: float = 2.0
    alpha: float = 0.3
    beta: float = 0.7
    hardest: float = 0.25

    def __post_init__(self) -> None:
        for name in self.terms:
            if name not in TERMS:
                raise ConfigError(f"loss.terms has no {name!r}, only {', '.join(TERMS)}{suggest(name, list(TERMS))}")
        if min(self.terms.values(), default=0) < 0 or not any(self.terms.values()):
            raise ConfigError(f"loss.terms is {self.terms}, but needs factors >= 0, and one above 0")
        for name, fits, wanted in (
            ("label_smoothing", 0 <= self.label_smoothing <= 1, "in 0..1"),
            ("gamma", self.gamma >= 0, ">= 0"),
            ("alpha", self.alpha >= 0, ">= 0"),
            ("beta", self.beta >= 0, ">= 0"),
            ("hardest", 0 < self.hardest <= 1, "in (0, 1]"),
        ):
            if not fits:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}, but must be {wanted}")
        for setting in fields(self)[1:]:
            users = USED_BY[setting.name]
            if getattr(self, setting.name) != setting.default and not set(users) & set(self.terms):
                raise ConfigError(f"loss.{setting.name} does nothing without {' or '.join(users)} among loss.terms")

    @property
    def name(self) -> str:
        """The loss in words, with all that changes it."""
        terms = " + ".join(f"{'' if f == 1 else f'{f:g} x '}{name}" for name, f in self.terms.items() if f)
        more = [
            f"{s.name} {value if isinstance(value, str) else f'{value:g}'}"
            for s in fields(self)[2:]
            if (value := getattr(self, s.name)) != s.default
        ]
        weights = self.class_weights
        more = ([f"class weights {weights if isinstance(weights, str) else 'as set'}"] if weights else []) + more
        return terms + (f" with {', '.join(more)}" if more else "")

    def check(self, classes: int) -> None:
        """Raises ConfigError when the class weights are not one number >= 0 for each of `classes`."""
        weights = self.class_weights
        if not isinstance(weights, list):
            return
        if len(weights) != classes:
            raise ConfigError(f"loss.class_weights has {len(weights)} values, but there are {classes} classes")
        if min(weights) < 0 or not any(weights):
            raise ConfigError(f"loss.class_weights is {weights}, but needs weights >= 0, and one above 0")

    def weights(self, classes: int, class_pixels: Callable[[], tuple[np.ndarray, np.ndarray] | None]) -> Tensor | None:
        """The weight of each class, float32 (C,), or null when all count the same.

        Args:
            classes: C.
            class_pixels: gives the counts that the function `class_weights` takes, or null for data without classes of
                pixels; asked only where a rule is named.

        Raises:
            ConfigError: as `check`; or data without classes of pixels.
            DataError: no training pixel has a class.
        """
        self.check(classes)
        if isinstance(self.class_weights, str):
            if (counts := class_pixels()) is None:
                raise ConfigError(
                    f"loss.class_weights {self.class_weights} counts pixels by class, but the data has none: set it to "
                    "null"
                )
            return class_weights(*counts, self.class_weights)
        return None if self.class_weights is None else torch.tensor(self.class_weights, dtype=torch.float32)

    def compute(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, with gradient, and each term by name before its factor, without.

        Args:
            logits: (B, C, h, w).
            target: int64 (B, h, w), 255 = ignore.
            weight: (C,) on the same device, as `weights` gives it.
        """
        losses: dict[str, Callable[[], Tensor]] = {
            "cross_entropy": lambda: cross_entropy(logits, target, weight, self.label_smoothing),
            "focal": lambda: focal(logits, target, self.gamma, weight),
            "ohem": lambda: ohem(logits, target, self.hardest, weight, self.label_smoothing),
            "dice": lambda: dice(logits, target),
            "jaccard": lambda: jaccard(logits, target),
            "tversky": lambda: tversky(logits, target, self.alpha, self.beta),
            "lovasz": lambda: lovasz(logits, target),
        }
        values = {name: losses[name]() for name in self.terms}
        total = torch.stack([factor * values[name] for name, factor in self.terms.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


def _cross_entropies(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy of each pixel, float32 (B, h, w), times its class's weight; 0 where ignored."""
    # Not torch's own mean: it is nan over nothing, and on a GPU its sum is not the same from run to run.
    return functional.cross_entropy(
        logits.float(), target, weight, ignore_index=IGNORE, reduction="none", label_smoothing=label_smoothing
    )


def _pixel_weights(target: Tensor, weight: Tensor | None) -> Tensor:
    """Weight of each pixel, float32 (B, h, w): that of its class, 0 where ignored."""
    labeled = target != IGNORE
    return labeled.float() if weight is None else weight[target.where(labeled, 0)] * labeled
