"""Checks of what a file of weights says of itself."""

import json
import math
import shlex
from typing import Any

from modules.contracts import Backbone, ConfigError, DataError

CHANGED = ("activation", "pooling")
"""Layers that an option puts in place of a network's own, as weights say them."""

ARGUMENTS = ("attention", "image_size", "tubelet", "options")
"""Arguments of a backbone of timm's, as weights say them; those of clips have a `tubelet`."""
FILES = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}
"""Options of timm that weights must not set."""


def check_about(about: dict[str, Any], label: str) -> None:
    """Check what weights say of themselves.

    Raises:
        DataError: an entry is not as it is written; names it.
    """
    kinds = {"name": str, "small_images": bool, "mean": list | tuple, "std": list | tuple}
    kinds |= dict.fromkeys((*CHANGED, "attention"), str) | {
        "image_size": int | list | tuple,
        "tubelet": int,
        "options": dict,
    }
    for key, kind in kinds.items():
        if key in about and not isinstance(about[key], kind):
            raise DataError(f"{label}: its {key} is {about[key]!r}: take other weights, or correct it")
    if files := FILES & about.get("options", {}).keys():
        raise DataError(f"{label}: its options name {', '.join(sorted(files))}, which read files: take other weights")
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


def advice(backbone: Backbone, about: dict[str, Any]) -> str:
    """The end of a sentence about weights that do not fit: the options that build the network that they say."""
    here = json.loads(json.dumps(backbone.arguments))
    if "name" in about and any(about[key] != here.get(key) for key in ARGUMENTS if key in about):
        return f"; they are of a network of other options: add {shlex.join(built_by(about))}"
    if about.get("name", backbone.name) != backbone.name:
        return f"; they are of {about['name']}: add --model.backbone {about['name']}"
    if about.get("small_images", backbone.small_images) != backbone.small_images:
        return f"; add --model.small_images {str(about['small_images']).lower()}"
    return ""


def built_by(about: dict[str, Any]) -> list[str]:
    """Options that build the backbone of weights by its class, as they are typed."""
    kind = "VideoViT" if "tubelet" in about else "Timm"
    words = ["--model.backbone", kind, "--model.backbone.name", about["name"]]
    words += ["--model.backbone.small_images", "true"] if about.get("small_images") else []
    for key in ARGUMENTS:
        if key in about:
            value = about[key]
            words += [f"--model.backbone.{key}", value if isinstance(value, str) else json.dumps(value)]
    return words
