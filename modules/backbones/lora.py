"""Low-rank adaptation (LoRA, Hu et al. 2022): adapters beside the layers of a backbone, and their merging."""

import math
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.reach import Reach, survey
from modules.contracts import Backbone, ConfigError, check_range

Layer = Any
"""A linear layer or 2-d convolution."""
FORWARDS = (nn.Linear.forward, nn.Conv2d.forward)
"""Those of the layers that get adapters: others compute their weights on the way, or pad by themselves."""
DOWN, UP = ".lora.down", ".lora.up"


@dataclass(frozen=True)
class LoRA:
    """Low-rank adaptation (Hu et al. 2022): the backbone stays as it is, and adapters beside its layers are trained.

    A layer with weight W (out, in) computes (W + alpha / rank * up down) x, with up (out, rank) and down (rank, in).

    Args:
        rank: of the adapters; 0 is off: all of the backbone is trained.
        alpha: scale of the adapters, times the rank: alpha / rank times their output is added to that of the layer.
        dropout: probability, 0..1, of dropping inputs of the adapters in training.
        layers: regular expression that is searched for in the layers' names in the backbone's `net`, such as
            "attn.(qkv|proj)"; null takes all linear layers and 2-d convolutions (without groups) wider than the rank.
        norms: train the normalization layers of the backbone too; false keeps them, with their running statistics.

    Raises:
        ConfigError: a value out of range, or no regular expression.
    """

    rank: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    layers: str | None = None
    norms: bool = True

    def __post_init__(self) -> None:
        check_range("model.lora.rank", self.rank)
        check_range("model.lora.alpha", self.alpha, 1e-6)
        check_range("model.lora.dropout", self.dropout, high=1)
        try:
            re.compile(self.layers or "")
        except re.error as error:
            raise ConfigError(
                f"model.lora.layers is {self.layers!r}, which is no regular expression: {error}"
            ) from error

    @property
    def scale(self) -> float:
        """Factor on the output of the adapters."""
        return self.alpha / max(1, self.rank)


class Adapter(nn.Module):
    """Low-rank change of the weight of a layer; 0 at first. A child of the layer, which calls it by a hook.

    Args:
        layer: a linear layer or 2-d convolution.
        lora: its rank, scale and dropout.
    """

    def __init__(self, layer: Layer, lora: LoRA):
        super().__init__()
        self.scale, self.dropout = lora.scale, lora.dropout
        self.down = nn.Parameter(layer.weight.new_empty(lora.rank, *layer.weight.shape[1:]))
        self.up = nn.Parameter(layer.weight.new_zeros(len(layer.weight), lora.rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def widen(self, times: int) -> None:
        """Take so many times the input channels, of a layer that is widened before training."""
        self.down = nn.Parameter(self.down.data.repeat(1, times, *[1] * (self.down.ndim - 2)))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def set_dropout(self, p: float) -> None:
        """Set the probability, 0..1, of dropping inputs in training."""
        self.dropout = p


def _add(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    adapter = layer.lora
    x = functional.dropout(inputs[0], adapter.dropout, adapter.training)
    up = adapter.scale * adapter.up  # smaller than the output
    if isinstance(layer, nn.Conv2d):
        return output + functional.conv2d(layer._conv_forward(x, adapter.down, None), up[..., None, None])
    return output + functional.linear(functional.linear(x, adapter.down), up)


def add_adapters(backbone: Backbone, lora: LoRA) -> Reach:
    """Put adapters beside the layers of a backbone, in place; they and, if chosen, its norms are left to be trained.

    Layers that the network does not call, but whose weights it reads (such as `out_proj` of torch's attention), get
    none.

    Returns:
        What `survey` finds, adapters included.

    Raises:
        ConfigError: no layer is as `lora` asks for, or one is not as wide as its rank.
    """
    net = backbone.net
    layers: list[tuple[str, Layer]] = list(net.named_modules())
    for name, layer in layers:
        if _fits(layer) and re.search(lora.layers or "", name):
            width = min(len(layer.weight), layer.weight[0].numel())
            if lora.rank <= width:
                layer.add_module("lora", Adapter(layer, lora))
                layer.register_forward_hook(_add)
            elif lora.layers:
                raise ConfigError(
                    f"model.lora.rank is {lora.rank}, but layer {name} of {backbone.name} has a width of {width}: "
                    "lower it, or leave the layer out of model.lora.layers"
                )
    reach = survey(backbone)
    used = set.union(reach.pooled, *reach.maps)
    for name, layer in adapted(net).items():
        if f"{name}{DOWN}" not in used:
            _remove(layer)
    if not adapted(net):
        chosen = f"model.lora.layers {lora.layers} matches no" if lora.layers else "it has no"
        width, remedy = " of that width", "choose a lower rank or other layers"
        if not any(_fits(layer) for _, layer in layers):  # such as a network for clips
            width, remedy = "", "leave model.lora out, or choose another --model.backbone"
        raise ConfigError(
            f"model.lora.rank is {lora.rank}, but {backbone.name} gets no adapters: {chosen} linear layer or 2-d "
            f"convolution without groups{width}: {remedy}"
        )
    norms = {id(p) for layer in norm_layers(net) for p in layer.parameters(recurse=False)} if lora.norms else set()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.endswith((DOWN, UP)) or (parameter.requires_grad and id(parameter) in norms))
    return reach


def adapted(net: nn.Module) -> dict[str, Layer]:
    """Layers with adapters, by name."""
    return {name: layer for name, layer in net.named_modules() if isinstance(getattr(layer, "lora", None), Adapter)}


def norm_layers(net: nn.Module) -> list[nn.Module]:
    """Normalization layers, by the names of their classes."""
    return [layer for layer in net.modules() if "norm" in type(layer).__name__.lower()]


def merged(backbone: Backbone) -> Backbone:
    """A copy with the adapters merged into the weights: the same outputs, but for rounding, by the layers of old."""
    backbone = deepcopy(backbone)
    tensors = merged_tensors(backbone.net)
    for layer in adapted(backbone.net).values():
        _remove(layer)
    state = backbone.net.state_dict()
    state.update(tensors)  # keeps the versions of layers, which torch reads
    backbone.net.load_state_dict(state)
    return backbone


def merged_tensors(net: nn.Module) -> dict[str, Tensor]:
    """The state of a network with its adapters merged into the weights, under the names that it has without them."""
    scale = next((layer.lora.scale for layer in adapted(net).values()), 1.0)
    return merge(net.state_dict(), scale)


@torch.no_grad()
def merge(tensors: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Tensors by name with the adapters among them merged into the weights: W + scale * up down, in float32."""
    plain = {name: value for name, value in tensors.items() if not name.endswith((DOWN, UP))}
    for name in (name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)):
        weight = plain[f"{name}.weight"]
        change = scale * tensors[f"{name}{UP}"].float() @ tensors[f"{name}{DOWN}"].float().flatten(1)
        plain[f"{name}.weight"] = (weight.float() + change.view_as(weight)).to(weight.dtype)
    return plain


def without_adapters(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by name, but for those of adapters."""
    return {name: value for name, value in tensors.items() if not name.endswith((DOWN, UP))}


def _fits(layer: Layer) -> bool:
    plain = type(layer).forward in FORWARDS and "weight" in layer._parameters  # no weight that is computed
    return plain and getattr(layer, "groups", 1) == 1


def _remove(layer: nn.Module) -> None:
    del layer.lora
    for key, hook in list(layer._forward_hooks.items()):
        if hook is _add:
            del layer._forward_hooks[key]
