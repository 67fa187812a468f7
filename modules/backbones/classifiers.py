"""Published classifiers: the layers between pooled features and logits, under their library's names."""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError, Maps

Takes = Literal["pooled", "cells", "map", "tokens", "branches"]


class Classifier(nn.Module):
    """Published classifier: features to logits (B, K), the mean over all its layers; `state_dict` has library names.

    Args:
        layers: by the library's name; their weights are kept if they have numbers, else 0.
        takes: input of the layers: `pooled` features (B, D); `cells`, the same as maps of one cell, for 1x1
            convolutions; `branches`, for each layer its share of the features side by side; `map`, the last map, before
            its mean; or `tokens`, for each layer one of the first tokens at the end of the network.

    `pools` is false where it takes `Maps` in place of pooled features; `classes` is the number K of logits.
    """

    def __init__(self, layers: dict[str, nn.Module], takes: Takes = "pooled"):
        super().__init__()
        self.paths, self.takes, self.pools = list(layers), takes, takes not in ("map", "tokens")
        for path, layer in layers.items():
            self._place(path, _with_numbers(layer))
        self.classes = next(reversed(list(self.parameters()))).shape[0]
        convolutions = [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        self.dimensions = 3 if any(isinstance(m, nn.Conv3d) for m in convolutions) else 2

    def forward(self, features: Tensor | Maps) -> Tensor:
        layers = [self.get_submodule(path) for path in self.paths]
        inputs: list[Tensor] = [features] * len(layers)
        if self.takes == "cells":
            inputs = [features.reshape(*features.shape, *[1] * self.dimensions)] * len(layers)
        elif self.takes == "map":
            inputs = [features[-1]] * len(layers)
        elif self.takes == "tokens":
            inputs = [features.end[:, index] for index in range(len(layers))]
        elif self.takes == "branches":
            inputs = list(features.split([layer.in_features for layer in layers], 1))
        logits = [layer(one) for layer, one in zip(layers, inputs, strict=True)]
        return torch.stack([each.flatten(2).mean(2) if each.ndim > 2 else each for each in logits]).mean(0)

    def _place(self, path: str, layer: nn.Module) -> None:
        """Insert `layer` at the library's path, inside empty modules of the names before it."""
        parent, *names = [self, *path.split(".")]
        for name in names[:-1]:
            if name not in dict(parent.named_children()):
                parent.add_module(name, nn.Module())
            parent = parent.get_submodule(name)
        parent.add_module(names[-1], layer)


def find_classifier(network: nn.Module, own: set[str], said: object) -> dict[str, nn.Module]:
    """Layers of `network` that hold the tensors missing from a network without classifier.

    Args:
        network: the published network.
        own: names of the tensors of the network without classifier.
        said: the classifier as `network` itself names it: a module, or several.

    Returns:
        Layers by name; empty if nothing is lacking.

    Raises:
        ConfigError: something that is no layer is lacking too.
    """
    lacking = {name for name in network.state_dict() if name not in own}
    if not lacking:
        return {}
    several = list(said) if isinstance(said, tuple | list | nn.ModuleList) else [said]
    paths = [name for name, module in network.named_modules() if any(module is each for each in several)]
    if not paths or not all(name.startswith(tuple(f"{path}." for path in paths)) for name in lacking):
        parents = [name.split(".")[:-1] for name in sorted(lacking)]  # such as a norm beside the linear layer
        common = [a for a, *others in zip(*parents, strict=False) if all(a == b for b in others)]
        paths = [".".join(common)] if common else []
    if not paths:
        raise ConfigError(
            "model.head is pretrained, but the library's classifier of this network is no stack of layers on its "
            "features: leave --model.head out"
        )
    return {path: network.get_submodule(path) for path in paths}


def has_convolution(layers: dict[str, nn.Module]) -> bool:
    """True if any layer of the classifier is a convolution."""
    return any(isinstance(m, nn.Conv2d | nn.Conv3d) for layer in layers.values() for m in layer.modules())


def _with_numbers(layer: nn.Module) -> nn.Module:
    if not any(tensor.is_meta for tensor in (*layer.parameters(), *layer.buffers())):
        return layer
    layer = layer.to_empty(device="cpu").requires_grad_(True)
    for tensor in (*layer.parameters(), *layer.buffers()):
        tensor.detach().zero_()
    return layer
