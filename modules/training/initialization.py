"""Initialization of all convolutions and linear layers of any network by name."""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, check_range
from modules.training.modes import evaluation_mode

Init = Literal[
    "zeros", "gaussian", "xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform", "fan_in", "lsuv"
]
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def initialize_network(network: nn.Module, way: Init, std: float = 0.01) -> None:
    """Initialize the weights of all convolutions and linear layers in place; their biases become 0, norms stay.

    Args:
        network: any.
        way: `zeros`, `gaussian` with `std`, `xavier_normal` and `xavier_uniform` (Glorot and Bengio 2010),
            `kaiming_normal` and `kaiming_uniform` for ReLUs (He et al. 2015), `fan_in` normal of deviation
            1 / sqrt(fan_in) (LeCun et al. 1998), `lsuv` orthogonal (Saxe et al. 2014), to be scaled by `unit_variance`.
        std: standard deviation of `gaussian`.

    Raises:
        ConfigError: a negative std.
    """
    check_range("model.init_std", std)
    ways: dict[str, Callable[[Tensor], object]] = {
        "zeros": nn.init.zeros_,
        "gaussian": partial(nn.init.normal_, std=std),
        "xavier_normal": nn.init.xavier_normal_,
        "xavier_uniform": nn.init.xavier_uniform_,
        "kaiming_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        "kaiming_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),
        "fan_in": lambda weight: nn.init.normal_(weight, std=1 / math.sqrt(weight[0].numel())),
        "lsuv": _orthogonal,
    }
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            ways[way](layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def unit_variance(network: nn.Module, forward: Callable[[], object]) -> int:
    """Layer-sequential unit variance (LSUV, Mishkin and Matas 2016), in one pass; returns the number of scaled layers.

    Each convolution or linear layer, in the order in which they run, is divided by the standard deviation of its
    output; biases must be 0. The network runs in evaluation mode and is left in its own.

    Args:
        network: of these layers.
        forward: runs a batch through the network.
    """
    seen: set[nn.Module] = set()

    def scale(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        deviation = output.float().std()
        if layer in seen or not deviation > 0:
            return None
        seen.add(layer)
        layer.get_parameter("weight").div_(deviation)
        return output / deviation

    layers = [layer for layer in network.modules() if isinstance(layer, LAYERS)]
    hooks = [layer.register_forward_hook(scale) for layer in layers]
    try:
        with evaluation_mode(network), torch.compiler.set_stance("force_eager"):  # hooks are no part of the network
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return len(seen)


def check_init(way: Init | None, weights: str | None, frozen: bool, lora_rank: int = 0) -> None:
    """Refuse an initialization of a network that begins with weights, or is not trained.

    Raises:
        ConfigError: names the setting that does not go with it.
    """
    if way is not None and (weights or frozen or lora_rank):
        kept = "model.frozen is true" if frozen else f"model.lora.rank is {lora_rank}"
        other = f"model.weights is {weights}" if weights else kept
        raise ConfigError(f"model.init is {way}, but {other}: leave one of them out")


@torch.no_grad()
def _orthogonal(weight: Tensor) -> Tensor:
    return weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape)))  # of weights that are not contiguous too
