"""Layers of a network by name, their outputs, and inputs with a gradient."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, suggest
from modules.training.modes import evaluation_mode


def layer_names(network: nn.Module) -> list[str]:
    """Names of all layers of a network in the order of its definition, such as `backbone.net.layer4.1.conv2`."""
    return [name for name, _ in network.named_modules() if name]


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Layer of a network by its name, with or without the `backbone.net.` in front of it.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    layers = dict(network.named_modules())
    found = next((layers[full] for full in (name, f"backbone.net.{name}", f"backbone.{name}") if full in layers), None)
    if found is None or not name:
        names = layer_names(network)
        short = [full.removeprefix("backbone.net.") for full in names]
        some = f"; its largest parts are {', '.join(one for one in short if one.count('.') == 0)}"
        raise ConfigError(f"the network has no layer {name!r}{suggest(name, [*short, *names]) or some}")
    return found


def refuse_compiled(task: nn.Module, what: str) -> None:
    """Refuse a task whose layers cannot be looked into.

    Args:
        task: that may be compiled.
        what: looks into its layers, in the sentence.

    Raises:
        ConfigError: it is compiled.
    """
    if getattr(task, "compiled", False):
        raise ConfigError(f"{what} looks into every layer, which torch.compile hides: add --model.compile false")


def level_number(name: str, levels: int, what: str) -> int | None:
    """Level that a layer is given by, counted from the finest; null of a name.

    Args:
        name: as typed, such as `2`, `-1` or `layer3.0`.
        levels: number of levels.
        what: has them, in the sentence.

    Raises:
        ConfigError: a number of no level.
    """
    if not re.fullmatch(r"-?\d+", name):
        return None
    if not -levels <= int(name) < levels:
        raise ConfigError(f"--layer is {name}, but {what} has {levels} levels: 0 to {levels - 1}, -1, or a name")
    return int(name) % levels


@contextmanager
def recorded(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, Any]]:
    """Record the outputs of layers in each forward pass inside of the context, as parts of the graph of gradients.

    `torch.autograd.grad(score, outputs["name"])` gives the gradient at a layer. What the network does in place to an
    output later, such as a ReLU, does not reach the recorded one.

    Args:
        layers: by a name of your choice; what torch.compile made of a network calls no hooks.

    Yields:
        Output by name, empty before the pass: a tensor, or a list or tuple of them. Of a layer that runs several times,
        the last.
    """
    outputs: dict[str, Any] = {}

    def keep(name: str, layer: nn.Module, inputs: Any, output: Any) -> Any:
        outputs[name] = output
        return _copied(output)

    hooks = [layer.register_forward_hook(partial(keep, name)) for name, layer in layers.items()]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _copied(output: Any) -> Any:
    """A copy of a tensor, or of those in a list or tuple of any type."""
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(_copied, output))
    return type(output)(map(_copied, output)) if type(output) in (list, tuple) else output


@contextmanager
def differentiable(*networks: nn.Module) -> Iterator[None]:
    """Compute gradients, whatever mode surrounds: inference mode and `no_grad` would give none.

    Networks are in eval mode inside, and their parameters collect no gradients.

    Args:
        networks: those that are differentiated with respect to inputs or layers.
    """
    trainable = [one for network in networks for one in network.parameters() if one.requires_grad]
    try:
        for one in trainable:
            one.requires_grad_(False)
        with evaluation_mode(*networks), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for one in trainable:
            one.requires_grad_(True)


def leaf(value: Tensor) -> Tensor:
    """A copy of floats, at which a gradient can be taken; also of what was made in inference mode.

    Raises:
        RuntimeError: gradients are off, which would make all of them zero or fail later; see `differentiable`.
    """
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise RuntimeError("gradients are off here: enter `differentiable` first")
    return value.detach().clone().requires_grad_()


def gradients(score: Tensor, at: list[Tensor], keep_graph: bool = False) -> list[Tensor]:
    """Gradients of the sum of scores (B,) at inputs or recorded outputs, each of its shape.

    Raises:
        RuntimeError: a score does not depend on them, which plain zeros would hide.
    """
    return list(torch.autograd.grad(score.sum(), at, retain_graph=keep_graph))
