"""Findings of `inspect` in words and numbers: costs by block, signals by layer, dead channels and kernels."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import theilslopes
from torch import nn

from modules.contracts import counted
from modules.insight.watch import Layer

ROWS = 20
STRONG = 1000  # times that gradients change through a network, from which on they vanish or explode
SHOWN = 0.001  # share of a cost from which on a block is shown
DEAD_NORM = 0.01  # norm of a dead depthwise kernel, relative to the 90th percentile of its layer


class Block(NamedTuple):
    """Layers below one name: number of parameters, bytes for the backward pass, MACs, and shape of the output."""

    name: str
    parameters: int
    memory: int
    macs: int
    shape: tuple[int, ...]


def summed(name: str, layers: Sequence[Layer]) -> Block:
    """Costs of some layers together."""
    named = next((one for one in layers if one.name == name and one.shape), None)
    shapes = [one.shape for one in layers if one.shape]
    shape = named.shape if named else shapes[-1] if shapes else ()
    parameters, memory, macs = (sum(getattr(one, cost) for one in layers) for cost in ("parameters", "memory", "macs"))
    return Block(name, parameters, memory, macs, shape)


def blocks(layers: Sequence[Layer], most: int = ROWS) -> list[Block]:
    """Parts of a network in the order of their first call, at most so many: the costliest are split into their own."""
    whole = summed("", layers)
    found: dict[str, list[Layer]] = {"": list(layers)}
    whole_ones: set[str] = set()  # that cannot be split, or not any more
    while left := [name for name in found if name not in whole_ones]:
        sums = {name: summed(name, found[name]) for name in left}
        name = max(left, key=lambda name: max(a / (b or 1) for a, b in zip(sums[name][1:4], whole[1:4], strict=True)))
        depth = name.count(".") + 1 if name else 0
        inner: dict[str, list[Layer]] = {}
        for one in found[name]:
            inner.setdefault(".".join(one.name.split(".")[: depth + 1]), []).append(one)
        if list(inner) == [name] or (name and len(found) + len(inner) - 1 > most):
            whole_ones.add(name)
            continue
        whole_ones |= {name} & set(inner)  # what a block does itself, beside its parts
        found = {
            key: part for old, one in found.items() for key, part in (inner if old == name else {old: one}).items()
        }
    sums = [summed(name, part) for name, part in found.items()]
    return [
        one
        for one in sums
        if any(part >= SHOWN * all_ for part, all_ in zip(one[1:4], whole[1:4], strict=True) if part)
    ]


def table(layers: Sequence[Layer], samples: int) -> list[str]:
    """Costs block by block, at most 80 columns wide; MACs of one sample, memory of the batch."""
    whole = summed("all", layers)
    lines = [f"{'':29}{'output':>12}{'K param.':>10}{'':5}{'MB':>7}{'':5}{'MMACs':>7}{'':5}"]
    for block in [*blocks(layers), whole]:
        name = block.name if len(block.name) <= 28 else "…" + block.name[-27:]
        shape = "x".join(map(str, block.shape[1:])) if block is not whole else ""
        cells = (block.parameters / 1e3, block.memory / 1e6, block.macs / samples / 1e6)
        shares = [f"{100 * a / b:4.0f}%" if b else "     " for a, b in zip(block[1:4], whole[1:4], strict=True)]
        first, second, third = cells
        line = f"{name or '(outside of layers)':29}{shape[:12]:>12}{first:10,.1f}{shares[0]}"
        lines.append(f"{line}{second:7.1f}{shares[1]}{third:7.1f}{shares[2]}")
    return lines


def weighted(layers: Sequence[Layer]) -> list[Layer]:
    """Trained layers whose outputs get a gradient, in the order of their first call: the signal's way."""
    return [one for one in layers if one.gradient and one.trained and one.weight_norm]


def change(values: Sequence[float]) -> float:
    """Trend of positive numbers through the layers, last over first, by the median slope of their logarithms."""
    if len(values) < 2:
        return 1.0
    return float(10 ** (theilslopes(np.log10(values))[0] * (len(values) - 1)))


def signals(layers: Sequence[Layer], state: str) -> list[str]:
    """Sentences on gradients and activations through the layers.

    Args:
        layers: measured, with gradients.
        state: initialization, or after training.
    """
    way = weighted(layers)
    if len(way) < 2:
        return [f"{state}: fewer than two trained layers get a gradient, so that none can vanish"]
    slope, wide = change([one.gradient or 1.0 for one in way]), [one.std for one in way if one.std]
    broken = [one.name for one in way if not np.isfinite([one.gradient or 0.0, one.std or 0.0]).all()]
    if broken:
        return [f"{state}: gradients or activations are not finite, first in {broken[0]}"]
    times = f"{max(slope, 1 / slope):,.3g} times {'smaller' if slope > 1 else 'larger'}"
    kind = "neither vanishing nor exploding" if 1 / STRONG < slope < STRONG else ""
    kind = kind or ("vanishing gradients" if slope > 1 else "exploding gradients")
    grown = change(wide)
    lines = [
        f"{state}: {kind}: on their way from the last layer to the first, gradients become {times}; activations "
        f"{'grow' if grown > 1 else 'shrink'} {max(grown, 1 / grown):,.3g} times from the first to the last"
    ]
    if without := [one.name for one in layers if one.gradient == 0 and one.trained]:
        some = f"{counted(len(without), 'layers')}, such as {without[0]}"
        lines.append(f"{state}: no gradient at all in {some} (so it is in branches that begin at zero)")
    if units := sum(one.relus for one in layers):
        dead = sum(one.dead for one in layers)
        worst = max(layers, key=lambda one: one.dead)
        where = (
            f", most of them in {worst.name or 'the network itself'} ({worst.dead} of {worst.relus})" if dead else ""
        )
        lines.append(f"{state}: dead ReLU channels, zero in the whole batch: {dead} of {units}{where}")
    return lines


def dead_kernels(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Dead kernels and all kernels of each depthwise convolution, by name: dead ones are next to zero."""
    found = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd) and 1 < module.groups == module.in_channels:
            norms = module.weight.detach().flatten(1).norm(dim=1)
            found[name] = (int((norms <= DEAD_NORM * norms.quantile(0.9)).sum()), len(norms))
    return found


def kernels(network: nn.Module, state: str) -> list[str]:
    """A sentence on dead depthwise kernels, where there are any depthwise convolutions."""
    found = dead_kernels(network)
    if not found:
        return []
    dead, every = (sum(counts) for counts in zip(*found.values(), strict=True))
    worst = max(found, key=lambda name: found[name][0])
    where = f", most of them in {worst} ({found[worst][0]} of {found[worst][1]})" if dead else ""
    return [f"{state}: dead depthwise kernels, below 1 % of their layer's norm: {dead} of {every}{where}"]
