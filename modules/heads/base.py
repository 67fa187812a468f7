"""Base classes of heads, one for each kind of output; a head of your own derives from the one that its task takes."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import Backbone, ConfigError, Features
from modules.layers.blocks import resize


class Head(nn.Module, ABC):
    """Base of all heads: feature pyramid in, the output of a task out.

    A task takes heads of one of the bases derived from this one: `ClassificationHead`, `DenseHead`, `EmbeddingHead`,
    `PrototypeHead`, `DetectionHead`, `InstanceHead` or `MaskQueryHead`. Derive your own from that base; its
    first two parameters are `features`, the `Features` of the maps, and `outputs`, the number of outputs. All others
    are settings.

    Attributes:
        pools: true for heads that take pooled features (B, features.pooled) in place of the maps.
    """

    pools: bool = False

    @property
    def title(self) -> str:
        """Name of the head in messages: what `model.head` says."""
        return type(self).__name__

    @abstractmethod
    def forward(self, *inputs: Any) -> Any:
        """Maps, fine to coarse, or pooled features (B, D) where the head `pools`, to the output of its kind."""

    def set_progress(self, progress: float) -> None:
        """Take the share of the training that is done, 0..1, before each of its steps; most heads ignore it."""

    @classmethod
    def build(cls, factory: "HeadFactory[Self]", features: Features, outputs: int) -> Self:
        """Build a head with `factory`, which must give one of this kind.

        Args:
            factory: a class of heads, or any callable of features and outputs.
            features: of the maps that the head gets.
            outputs: number of outputs.

        Raises:
            ConfigError: the head is of another kind; names `model.head` and the heads that fit.
        """
        return build((cls,), factory, features, outputs)


H = TypeVar("H", bound=Head)
HeadFactory = Callable[[Features, int], H]
"""Class of heads, or callable, from features and the number of outputs; `HeadFactory[DenseHead]` gives dense heads."""


def build(bases: tuple[type[H], ...], factory: HeadFactory[H], features: Features, outputs: int) -> H:
    """Build a head of one of these bases, as `Head.build`."""
    made = None if isinstance(factory, type) else factory(features, outputs)
    found = factory if made is None else type(made)
    if not (isinstance(found, type) and issubclass(found, bases)):
        names = " or ".join(base.__name__ for base in bases)
        own = " or ".join(f"{base.__module__}.{base.__name__}" for base in bases)
        raise ConfigError(
            f"model.head is {getattr(found, '__name__', found)}, but this task takes a {names}: "
            f"{', '.join(name for base in bases for name in kinds(base))}, or a class of your own derived from {own}"
        )
    return factory(features, outputs) if made is None else made


@dataclass(frozen=True)
class HeadRecipe:
    """Way to make the head of a task again, for other numbers of outputs.

    Args:
        kind: base class that the head must have.
        factory: makes it.
        features: of its maps.
    """

    kind: type[Head]
    factory: HeadFactory[Any]
    features: Features

    def __call__(self, outputs: int) -> Head:
        return self.kind.build(self.factory, self.features, outputs)

    def __deepcopy__(self, memo: dict) -> "HeadRecipe":
        """Return this one: copies of a task, such as its EMA, share it, and factories of a command line have none."""
        return self


def kinds(base: type[Head]) -> list[str]:
    """Names of the heads derived from `base` that need no more than features and outputs, sorted."""
    found = {base}
    while more := {c for cls in found for c in cls.__subclasses__()} - found:
        found |= more
    return sorted(cls.__name__ for cls in found if not cls.__abstractmethods__ and not _more(cls))


def _more(cls: type[Head]) -> list[str]:
    """Names of the parameters without default behind the first two, which no task gives."""
    parameters = list(inspect.signature(cls).parameters.values())[2:]
    return [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]


class ClassificationHead(Head):
    """Base of classifiers: `forward` gives logits (B, C).

    The other methods have defaults for one class per sample, by cross-entropy.

    Attributes:
        loss_name: the training loss in words, with all that changes it.
        eval_protocol: the loss of validation and test in words, and how it differs from training.
        weighted: true if the loss has class weights.
        several: true if the probabilities are of several classes at once, one sigmoid per class.
    """

    loss_name: str = "cross-entropy"
    weighted: bool = False
    several: bool = False

    def balance(self, counts: Callable[[], np.ndarray | None]) -> None:
        """Take class weights from the training samples of each class, int64 (C,), before training; by default none.

        Args:
            counts: gives them, or null for samples without a class (`DataInfo.class_counts`).
        """

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, C) logits to (B, C) probabilities, float32; by default their softmax."""
        return logits.float().softmax(1)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of (B, C) logits against int64 (B,) classes or float (B, C) probabilities, in float32."""
        return functional.cross_entropy(logits.float(), target)

    @property
    def eval_protocol(self) -> str:
        return f"{self.loss_name}, as in training"

    def eval_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean loss of validation and test: as `loss`, without what regularizes it, where the head has such."""
        return self.loss(logits, target)

    def chance_loss(self, classes: int) -> float:
        """Loss of logits of zero, which find all classes equally likely: ln C for cross-entropy."""
        device = next((tensor.device for tensor in (*self.parameters(), *self.buffers())), None)
        return self.loss(torch.zeros(classes, classes, device=device), torch.arange(classes, device=device)).item()


class DenseHead(Head):
    """Base of heads with an output for every place: `forward` gives (B, outputs, h, w).

    Its size is free: the task resizes it to that of the image.
    """

    def logits(self, image: Tensor, see: Callable[[Tensor], list[Tensor]]) -> Tensor:
        """Logits float32 (B, outputs, H, W) of images (B, 3, H, W), whose maps `see` gives."""
        return resize(self(see(image)).float(), image.shape[-2:])


class EmbeddingHead(Head):
    """Base of projection heads: `forward` gives embeddings (B, D), not normalized."""


class PrototypeHead(Head):
    """Base of heads of self-distillation: `forward` gives logits (B, K) of prototypes.

    Attributes:
        last: the layer that holds the prototypes, which DINO freezes at first.
    """

    last: nn.Module


def through(backbone: Backbone, head: Head, image: Tensor) -> Tensor:
    """Normalized images through a backbone and a head on its maps, or on its pooled features if the head `pools`."""
    maps = backbone(image)
    return head(backbone.pool(maps) if head.pools else maps)
