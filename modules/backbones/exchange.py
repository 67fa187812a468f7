"""Layers of a backbone that settings exchange for others."""

from typing import Literal

from modules.backbones.activations import Activation, exchange_activations
from modules.backbones.pooling import use_fractional_pooling
from modules.contracts import Backbone

Pooling = Literal["max", "fractional"]


def exchange_layers(backbone: Backbone, activation: Activation | None, pooling: Pooling) -> None:
    """Put other activations and other pooling into a backbone, in place.

    Args:
        backbone: changed in place.
        activation: see `exchange_activations`; null keeps the network's own.
        pooling: `max` keeps the network's own, `fractional` see `use_fractional_pooling`.

    Raises:
        ConfigError: the backbone has no such layers.
    """
    if activation is not None:
        exchange_activations(backbone, activation)
    if pooling == "fractional":
        use_fractional_pooling(backbone)
