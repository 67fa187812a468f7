"""Linear classification head."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import ConfigError, Features, Maps, check_range
from modules.heads.base import ClassificationHead
from modules.losses.balance import Balance, class_weights
from modules.losses.classification import asymmetric_loss, focal_loss, hinge_loss, squared_error

Loss = Literal["cross_entropy", "binary", "asymmetric", "focal", "hinge", "squared_hinge", "squared_error"]
NAMES: dict[Loss, str] = {
    "cross_entropy": "cross-entropy",
    "binary": "binary cross-entropy",
    "asymmetric": "asymmetric loss",
    "focal": "focal loss",
    "hinge": "multi-class hinge loss",
    "squared_hinge": "multi-class squared hinge loss",
    "squared_error": "squared error of one-hot targets",
}
SMOOTHED = ("cross_entropy", "squared_error", "binary")
SIGMOID = ("binary", "asymmetric")
"""Losses of one sigmoid per class, for several classes at once."""


class Linear(ClassificationHead):
    """One linear layer on pooled features, with its loss.

    Args:
        features: feature pyramid of the backbone or fusion.
        outputs: number of classes C.
        dropout: share of pooled features set to zero in training, 0..1.
        loss: `cross_entropy` for one class per image, `focal` for the same with many easy samples,
            `binary` for several classes at once (one sigmoid per class), `asymmetric` for the same with few of many
            (Ridnik et al. 2021), `hinge` and `squared_hinge` for a multi-class
            SVM (Weston and Watkins 1999: margin 1 to every other class), `squared_error` against one-hot targets. The
            softmax of the logits ranks classes with the last three, but is not trained to be their probability.
        label_smoothing: probability mass spread evenly, 0..1; for `cross_entropy`, `squared_error` and `binary`.
            Validation and test are without it, and without `class_weights`.
        smooth_over: `all` spreads label_smoothing over all K classes, eps / K each (Szegedy et al. 2016); `others` over
            all but the true one, eps / (K - 1) each, so that this keeps 1 - eps.
        focal_gamma: exponent of the focal loss, which down-weights easy samples, for `focal`.
        asymmetric_gamma: exponents that down-weight easy positives and easy negatives, for `asymmetric`.
        asymmetric_margin: probability 0..1 below which negatives cost nothing, for `asymmetric`.
        class_weights: one weight per class, in the order of `classes`, or a rule that takes them from the number of
            training samples: `median_frequency`, which `auto` is too, or `enet`.

    Raises:
        ConfigError: class_weights of another length than the classes, a setting of another loss, a share outside of
            0..1, or smoothing that leaves the true class less than the others.
    """

    pools = True

    def __init__(
        self,
        features: Features,
        outputs: int,
        dropout: float = 0.0,
        loss: Loss = "cross_entropy",
        label_smoothing: float = 0.0,
        smooth_over: Literal["all", "others"] = "all",
        focal_gamma: float = 2.0,
        asymmetric_gamma: tuple[float, float] = (0.0, 4.0),
        asymmetric_margin: float = 0.05,
        class_weights: list[float] | Balance | None = None,
    ):
        super().__init__()
        check_range("head.dropout", dropout, high=1)
        check_range("head.label_smoothing", label_smoothing, high=1)
        check_range("head.focal_gamma", focal_gamma)
        check_range("head.asymmetric_gamma", min(asymmetric_gamma))
        check_range("head.asymmetric_margin", asymmetric_margin, high=1)
        _check_settings(loss, focal_gamma, tuple(asymmetric_gamma), asymmetric_margin)
        if loss == "asymmetric" and class_weights is not None:
            raise ConfigError("class_weights does nothing with the loss asymmetric: leave it out, or choose binary")
        if isinstance(class_weights, list) and len(class_weights) != outputs:
            raise ConfigError(f"class_weights has {len(class_weights)} values, but there are {outputs} classes")
        _check_smoothing(loss, label_smoothing, smooth_over, outputs)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features.pooled, outputs)
        self.kind, self.label_smoothing, self.focal_gamma = loss, label_smoothing, focal_gamma
        self.smooth_over = smooth_over
        self.asymmetric_gamma, self.asymmetric_margin = asymmetric_gamma, asymmetric_margin
        # eps on the others is the same distribution as more of it on all
        self.mass = label_smoothing * (outputs / (outputs - 1) if smooth_over == "others" else 1)
        self.rule = class_weights if isinstance(class_weights, str) else None
        weights = torch.ones(outputs) if self.rule else None if class_weights is None else torch.tensor(class_weights)
        self.register_buffer("class_weights", weights, persistent=self.rule is not None)  # the data is not always there

    def balance(self, counts: Callable[[], np.ndarray | None]) -> None:
        """Take the class weights from the training samples of each class, int64 (C,), where a rule was chosen.

        Args:
            counts: gives them, or null for samples without a class; asked only where a rule was chosen.

        Raises:
            ConfigError: samples have no class.
            DataError: there are none of any class.
        """
        if self.rule:
            if (samples := counts()) is None:
                raise ConfigError(
                    f"class_weights {self.rule} counts samples by class, but the data has no class for each: set "
                    "model.head.class_weights to null"
                )
            self.class_weights.copy_(class_weights(samples, np.full_like(samples, samples.sum()), self.rule))

    def replace_layer(self, layer: nn.Module, pools: bool) -> None:
        """Replace the linear layer by another classifier, on pooled features or, without `pools`, on `Maps`."""
        self.fc, self.pools = layer, pools

    def forward(self, features: Tensor | Maps) -> Tensor:
        """Pooled features (B, D), or maps where a published classifier takes them (not `pools`), to logits (B, C)."""
        return self.fc(self.dropout(features) if self.pools else features)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, C) logits to (B, C) probabilities: softmax, or a sigmoid per class for `binary` and `asymmetric`."""
        logits = logits.float()
        return logits.sigmoid() if self.several else logits.softmax(1)

    @property
    def several(self) -> bool:
        return self.kind in SIGMOID

    @property
    def weighted(self) -> bool:
        return self.class_weights is not None

    @property
    def loss_name(self) -> str:
        extra = self._extra()
        return self.eval_loss_name + (f"{' and' if self.kind == 'focal' else ' with'} {extra}" if extra else "")

    @property
    def eval_loss_name(self) -> str:
        return NAMES[self.kind] + (f" with gamma {self.focal_gamma:g}" if self.kind == "focal" else "")

    @property
    def eval_protocol(self) -> str:
        extra = self._extra()
        return f"{self.eval_loss_name}, " + (f"without the {extra} of training" if extra else "as in training")

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of (B, C) logits against int64 (B,) classes or float (B, C) probabilities, in float32."""
        return self._loss(logits.float(), target, self.class_weights, self.mass)

    def eval_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The same without label smoothing and class weights: a mean over samples, comparable between settings."""
        return self._loss(logits.float(), target, None, 0.0)

    def _loss(self, logits: Tensor, target: Tensor, weight: Tensor | None, mass: float) -> Tensor:
        if self.kind == "focal":
            return focal_loss(logits, target, self.focal_gamma, weight)
        if self.kind == "cross_entropy":
            return functional.cross_entropy(logits, target, weight, label_smoothing=mass)
        if self.kind in ("hinge", "squared_hinge"):
            return hinge_loss(logits, target, 1 if self.kind == "hinge" else 2, weight)
        if self.kind == "squared_error":
            return squared_error(logits, target, weight, mass)
        target = target if target.is_floating_point() else functional.one_hot(target, logits.shape[1])
        if self.kind == "asymmetric":
            return asymmetric_loss(logits, target.to(logits), self.asymmetric_gamma, self.asymmetric_margin)
        target = target.to(logits) * (1 - mass) + mass / 2
        return functional.binary_cross_entropy_with_logits(logits, target, weight)

    def _extra(self) -> str:
        """Smoothing and class weights of the training loss in words; empty without."""
        over = " over the other classes" if self.smooth_over == "others" else ""
        more = [f"label smoothing {self.label_smoothing:g}{over}"] if self.label_smoothing else []
        return " and ".join(more + ["class weights"] * self.weighted)


def _check_settings(loss: Loss, focal_gamma: float, gamma: tuple[float, ...], margin: float) -> None:
    """Refuse settings of one loss beside another.

    Raises:
        ConfigError: one of them is not at its default.
    """
    changed = {
        "focal_gamma": ("focal", focal_gamma != 2),
        "asymmetric_gamma": ("asymmetric", gamma != (0, 4)),
        "asymmetric_margin": ("asymmetric", margin != 0.05),
    }
    for name, (needed, typed) in changed.items():
        if typed and loss != needed:
            raise ConfigError(f"model.head.{name} does nothing with the loss {loss}: leave it out, or choose {needed}")


def _check_smoothing(loss: Loss, smoothing: float, over: str, classes: int) -> None:
    """Check label smoothing against the loss.

    Raises:
        ConfigError: the loss has none, or the true class would be left with less than the others.
    """
    if smoothing and loss not in SMOOTHED:
        raise ConfigError(
            f"label_smoothing does nothing with the loss {loss}; set it to 0 or choose {', '.join(SMOOTHED)}"
        )
    if over == "all":
        return
    if loss == "binary" or not smoothing:
        raise ConfigError(
            "smooth_over is others, but "
            + ("the loss binary has no other classes" if smoothing else "label_smoothing is 0")
            + ": leave it out"
        )
    if smoothing > (classes - 1) / classes:
        raise ConfigError(
            f"label_smoothing is {smoothing:g} over the other classes, which of {classes} leaves the true one less "
            f"than each of them: lower it to {(classes - 1) / classes:g} or less"
        )
