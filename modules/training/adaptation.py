"""Adaptation of pretrained weights to other inputs: more or fewer channels, clips in place of images (inflation)."""

import math

from torch import Tensor

from modules.contracts import Backbone


def adapt_channels(tensors: dict[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Adapt the first convolution when only the number of input channels differs; timm's rule, from any number."""
    firsts = backbone.config.get("first_conv") or ()
    for name in [firsts] if isinstance(firsts, str) else firsts:
        key = f"{name}.weight"
        there, here = tensors.get(key), backbone.net.state_dict().get(key)
        if (
            there is not None
            and here is not None
            and there.shape[1] != here.shape[1]
            and there.shape[2:] == here.shape[2:]
        ):
            tensors = {**tensors, key: _filters_for(here.shape[1], there)}
    return tensors


def _filters_for(channels: int, weight: Tensor) -> Tensor:
    """(O, I, h, w) filters for another number of channels.

    Summed where that divides I, such as for one channel or for one of several frames, else repeated and rescaled.
    """
    before = weight.shape[1]
    if before % channels == 0:
        return weight.unflatten(1, (-1, channels)).sum(1)
    return weight.repeat(1, math.ceil(channels / before), 1, 1)[:, :channels] * (before / channels)


def adapt_time(tensors: dict[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Inflate filters of images (O, I, h, w) for clips (O, I, t, h, w), or back.

    A still clip gives the same maps: repeated and divided by t (Carreira & Zisserman 2017), or summed over it.
    """
    for key, here in backbone.net.state_dict().items():
        there = tensors.get(key)
        if there is None or there.shape[-2:] != here.shape[-2:]:
            continue
        if (there.ndim, here.ndim) == (4, 5):
            tensors = {**tensors, key: there.unsqueeze(2).expand(-1, -1, here.shape[2], -1, -1) / here.shape[2]}
        elif (there.ndim, here.ndim) == (5, 4):
            tensors = {**tensors, key: there.sum(2)}
    return tensors
