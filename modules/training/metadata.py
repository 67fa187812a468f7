"""Checks of what a file of weights says of itself."""

import math
from typing import Any

from modules.contracts import Backbone, ConfigError, DataError

CHANGED = ("activation", "pooling")
"""Layers that an option puts in place of a network's own, as weights say them."""


def check_about(about: dict[str, Any], label: str) -> None:
    """Check what weights say of themselves.

    Raises:
        DataError: an entry is not as it is written; names it.
    """
    kinds = {"name": str, "small_images": bool, "mean": list | tuple, "std": list | tuple}
    kinds |= dict.fromkeys(CHANGED, str)
    for key, kind in kinds.items():
        if key in about and not isinstance(about[key], kind):
            raise DataError(f"{label}: its {key} is {about[key]!r}: take other weights, or correct it")
    mean, std = about.get("mean", ()), about.get("std", ())
    fits = all(type(x) in (int, float) and math.isfinite(x) for x in (*mean, *std)) and all(x > 0 for x in std)
    if not fits or len(mean) != len(std):
        raise DataError(f"{label}: its mean {mean} and std {std} are no numbers, one for each channel")
    if not isinstance(untrained := about.get("untrained", ()), list | tuple):
        raise DataError(f"{label}: its untrained is {untrained!r}, but must be a list of names")


def check_changed(backbone: Backbone, about: dict[str, Any], label: str) -> None:
    """Refuse weights that fit by name and shape, but were trained with other activations or pooling.

    Weights of the network as published are taken by a changed one.

    Raises:
        ConfigError: names the option that is missing.
    """
    for layers in CHANGED:
        theirs = about.get(layers)
        if theirs is not None and theirs != backbone.changed.get(layers):
            raise ConfigError(f"weights from {label} were trained with other layers: add --model.{layers} {theirs}")
