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
from modules.losses.classification import focal_loss


class Linear(ClassificationHead):
    """One linear layer on pooled features, with its loss.

    Args:
        features: feature pyramid of the backbone or fusion.
        outputs: number of classes C.
        dropout: share of pooled features set to zero in training, 0..1.
        loss: `cross_entropy` for one class per image, `focal` for the same with many easy samples,
            `binary` for several classes at once (one sigmoid per class).
        label_smoothing: probability mass spread evenly over all classes, 0..1; for `cross_entropy` and `binary`.
        focal_gamma: exponent of the focal loss, which down-weights easy samples, for `focal`.
        class_weights: one weight per class, in the order of `classes`, or a rule that takes them from the number of
            training samples: `median_frequency`, which `auto` is too, or `enet`.

    Raises:
        ConfigError: class_weights of another length than the classes, label_smoothing with `focal`, or a share outside
            of 0..1.
    """

    pools = True

    def __init__(
        self,
        features: Features,
        outputs: int,
        dropout: float = 0.0,
        loss: Literal["cross_entropy", "binary", "focal"] = "cross_entropy",
        label_smoothing: float = 0.0,
        focal_gamma: float = 2.0,
        class_weights: list[float] | Balance | None = None,
    ):
        super().__init__()
        check_range("head.dropout", dropout, high=1)
        check_range("head.label_smoothing", label_smoothing, high=1)
        check_range("head.focal_gamma", focal_gamma)
        if isinstance(class_weights, list) and len(class_weights) != outputs:
            raise ConfigError(f"class_weights has {len(class_weights)} values, but there are {outputs} classes")
        if loss == "focal" and label_smoothing:
            raise ConfigError("label_smoothing does nothing with the focal loss; set it to 0 or choose cross_entropy")
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features.pooled, outputs)
        self.kind, self.label_smoothing, self.focal_gamma = loss, label_smoothing, focal_gamma
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
        """(B, C) logits to (B, C) probabilities: softmax, or a sigmoid per class for `binary`."""
        logits = logits.float()
        return logits.sigmoid() if self.kind == "binary" else logits.softmax(1)

    @property
    def weighted(self) -> bool:
        return self.class_weights is not None

    @property
    def loss_name(self) -> str:
        names = {"cross_entropy": "cross-entropy", "binary": "binary cross-entropy", "focal": "focal loss"}
        more = [f"gamma {self.focal_gamma:g}"] if self.kind == "focal" else []
        more += [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        more += ["class weights"] if self.weighted else []
        return names[self.kind] + (f" with {' and '.join(more)}" if more else "")

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of (B, C) logits against int64 (B,) classes or float (B, C) probabilities, in float32."""
        logits = logits.float()
        if self.kind == "focal":
            return focal_loss(logits, target, self.focal_gamma, self.class_weights)
        if self.kind == "cross_entropy":
            return functional.cross_entropy(logits, target, self.class_weights, label_smoothing=self.label_smoothing)
        target = target if target.is_floating_point() else functional.one_hot(target, logits.shape[1])
        target = target.to(logits) * (1 - self.label_smoothing) + self.label_smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, target, self.class_weights)
