"""Activations of any network, exchanged by name."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from timm.layers import get_act_layer
from torch import Tensor, nn

from modules.backbones.classics.blocks import activation_layer
from modules.backbones.classics.plugins import Maxout
from modules.backbones.size import on_a_copy, published, zeros
from modules.contracts import Backbone, ConfigError

Activation = Literal[
    "relu", "relu6", "leaky_relu", "prelu", "elu", "celu", "selu", "gelu", "silu", "mish", "hard_swish", "tanh",
    "softsign", "maxout"
]  # fmt: skip
TIMMS = ("swish", "mish", "prelu", "gelu", "gelu_tanh", "quick_gelu", "tanh", "hard_swish", "hard_mish")
FOUND = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish),
    *(nn.Softplus, nn.Softsign, nn.Tanh),
    *map(get_act_layer, TIMMS),
)
"""Modules that are exchanged; sigmoids are gates, and stay."""
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class MaxoutUnit(nn.Module):
    """Maxout as an activation: the maximum of linear maps of the channels to as many (Goodfellow et al. 2013).

    In the paper the layer before has `pieces` times the channels; here these are a 1x1 convolution of its output, so
    that it fits in any place. The first piece starts as the identity and the others as 0: it begins as a ReLU, and
    published weights keep their meaning.

    Args:
        channels: of the input and the output.
        dim: dimension of the channels.
        pieces: number of linear maps.
    """

    def __init__(self, channels: int, dim: int = 1, pieces: int = 2):
        super().__init__()
        self.dim = dim
        self.linear, self.maxout = nn.Linear(channels, pieces * channels), Maxout(pieces, -1)
        with torch.no_grad():
            self.linear.bias.zero_()
            self.linear.weight.zero_()[::pieces].fill_diagonal_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape with `channels` in dimension `dim`, to the same."""
        return self.maxout(self.linear(x.movedim(self.dim, -1))).movedim(-1, self.dim)


def exchange_activations(backbone: Backbone, name: Activation) -> None:
    """Put another activation in place of every one that is a module of the network; all other tensors keep their names.

    Activations inside of squeeze-and-excitation are exchanged too; gates stay, and so does what a network computes
    without a module.

    Args:
        backbone: changed in place.
        name: timm's, `softsign` (Turian et al. 2009), or `maxout`, see `MaxoutUnit`.

    Raises:
        ConfigError: there is none, or one that Maxout cannot replace, as it sees different numbers of channels.
    """
    places = {path: one for path, one in backbone.net.named_modules(remove_duplicate=False) if isinstance(one, FOUND)}
    if not places:
        raise ConfigError(
            f"model.activation is {name}, but {backbone.name} has no activation that is a module of its own: leave it "
            f"out, or choose a network such as resnet18"
        )
    make = _maxouts(backbone, places) if name == "maxout" else lambda place: activation_layer(name)()
    made: dict[nn.Module, nn.Module] = {}  # some stand in several places
    for path, layer in places.items():
        if layer not in made:
            made[layer] = make(path)
        backbone.net.set_submodule(path, made[layer])
    backbone.mark_changed(activation=name)


def _maxouts(backbone: Backbone, places: dict[str, nn.Module]) -> Callable[[str], nn.Module]:
    """Function that makes the Maxout for a place; an activation that never runs is kept."""
    found = on_a_copy(backbone, partial(_channels, places=set(places)))
    for path, kinds in found.items():
        if len(kinds) > 1:
            widths = ", ".join(str(channels) for channels, _ in sorted(kinds))
            raise ConfigError(
                f"model.activation is maxout, whose weights are for one number of channels, but {path} of "
                f"{backbone.name} runs on {widths}: choose a network whose activations have one place each, such as "
                f"timm's resnet18"
            )
    return lambda path: MaxoutUnit(*found[path].pop()) if path in found else places[path]


@torch.no_grad()
def _channels(copy: Backbone, places: set[str]) -> dict[str, set[tuple[int, int]]]:
    """Number and dimension of the channels that each place sees: outputs of the layer before it."""
    found: dict[str, set[tuple[int, int]]] = {}
    dim = 1

    def before(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal dim
        dim = -1 if isinstance(layer, nn.Linear) else 1

    def note(path: str, x: Tensor) -> None:
        found.setdefault(path, set()).add((x.shape[dim], dim))

    for path, layer in copy.net.named_modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(before)
        elif path in places:
            layer.register_forward_pre_hook(lambda _, inputs, path=path: note(path, inputs[0]))
    copy.set_pools(True)
    copy.pool(copy(zeros(copy, 1, *published(copy))))
    return found
