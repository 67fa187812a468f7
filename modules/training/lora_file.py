"""Contents of `lora.safetensors`: what LoRA trained of a backbone, for the weights that it started from."""

from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

from modules.backbones.lora import merge, without_adapters
from modules.contracts import Backbone, DataError, Weights
from modules.training.fingerprint import fingerprint


def trained_tensors(net: nn.Module, trained: Collection[str]) -> tuple[dict[str, Tensor], str]:
    """The trained parameters of a network by these names, its statistics, and a fingerprint of all other tensors."""
    state = net.state_dict()
    kept = {name: state[name] for name, _ in net.named_parameters() if name not in trained and name in state}
    return {name: value for name, value in state.items() if name not in kept}, fingerprint(kept)


def apply_lora(backbone: Backbone, found: Weights) -> None:
    """Put what LoRA trained into a backbone that has the weights it started from, adapters merged.

    Args:
        backbone: changed in place.
        found: of a `lora.safetensors`.

    Raises:
        DataError: the backbone has other weights than those.
    """
    state = backbone.net.state_dict()
    before = without_adapters(state)
    kept = {name: p for name, p in backbone.net.named_parameters() if name in before and name not in found.tensors}
    if fingerprint(kept) != found.about.get("start_hash"):
        raise DataError(
            f"{found.source} is for the weights {found.about['start']} as they were, but these are others now: give "
            "backbone.safetensors of that run instead"
        )
    state.update(merge(before | found.tensors, scale_of(found.about, found.source)))
    backbone.net.load_state_dict(state)


def scale_of(about: dict[str, Any], label: str) -> float:
    """Factor of the adapters that weights say, 1 where they say none.

    Raises:
        DataError: it is no number.
    """
    scale = about.get("lora_scale", 1.0)
    if type(scale) not in (int, float):
        raise DataError(f"{label}: its lora_scale is {scale!r}, but must be a number")
    return scale
