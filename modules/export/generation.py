"""Graphs of generators: noise, and labels of a conditional one, to images."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from modules.export.graph import Graph
from modules.gan import Generator, to_bytes


class Sampler(nn.Module):
    """Noise float32 (B, latent), and labels int64 (B,), to images uint8 (B, H, W, C)."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, noise: Tensor, label: Tensor | None = None) -> tuple[Tensor]:
        return (to_bytes(self.generator(noise, label)).permute(0, 2, 3, 1),)


def noise_graph(generator: Generator, latent: int, classes: int) -> Graph:
    """Graph of a generator, which stays in eval mode with its normalized weights computed.

    Args:
        generator: a copy of its own.
        latent: numbers of noise of an image.
        classes: of a conditional generator; 0 for others.
    """
    network = Sampler(generator).eval().requires_grad_(False)
    for module in list(generator.modules()):
        if parametrize.is_parametrized(module):
            for name in list(cast(nn.ModuleDict, module.parametrizations)):
                parametrize.remove_parametrizations(module, name)
    inputs = {"noise": torch.zeros(2, latent)} | ({"label": torch.zeros(2, dtype=torch.int64)} if classes else {})
    dynamic = {name: {0: "batch"} for name in inputs}
    return Graph(network, inputs, ["generated"], dynamic, {"latent": latent, "conditional": bool(classes)}, "noise")
