"""Faithfulness of attribution maps: deletion, insertion, pointing game, energy, and randomized weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from modules.insight.perturbation import CELLS, random_masks
from modules.insight.subject import Subject

STEPS, DEPTHS = 16, 5
SMOOTH = 1 / 32
"""Standard deviation of the smoothing before the pointing game, as a share of the map's side."""


def stretched(maps: Tensor, space: tuple[int, ...]) -> Tensor:
    """Maps (B, ...) enlarged linearly to (B, *space); frames are repeated where the map has none."""
    if maps.ndim - 1 < len(space):
        maps = maps[:, None].expand(-1, space[0], *maps.shape[1:])
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(space)]
    return maps if maps.shape[1:] == space else interpolate(maps[:, None].float(), space, mode=mode)[:, 0]


def random_maps(count: int, space: tuple[int, ...], seed: int = 0) -> Tensor:
    """Baseline without knowledge: smooth random maps (N, *space), of cells as coarse as those of RISE."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([2.0**-i * random_masks(count, space, CELLS, 0.5, generator) for i in range(8)]).sum(0)


def center_maps(count: int, space: tuple[int, ...]) -> Tensor:
    """Baseline of photographers: maps (N, *space), highest in the center."""
    ways = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in space), indexing="ij")
    return -torch.stack(ways).norm(dim=0).expand(count, *space)


def curves(
    subject: Subject, maps: Tensor, steps: int = STEPS, baseline: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Deletion and insertion curves (Petsiuk et al. 2018): scores while pixels are covered, or shown, best first.

    Args:
        subject: what is explained.
        maps: (B, ...), enlarged to the input; what is equal is taken in random order.
        steps: parts that the pixels are taken in.
        baseline: value of covered pixels.
        seed: of the order of equals.

    Returns:
        (B, steps + 1) each. Their mean over the steps is the area under the curve: low for deletion, high for
        insertion where a map is faithful.
    """
    space = tuple(subject.space)
    flat = stretched(maps, space).flatten(1).float().cpu()
    shuffled = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    order = shuffled[flat[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1]).expand_as(order))
    first = torch.linspace(0, flat.shape[1], steps + 1).round()
    taken = (rank[:, None] < first[:, None]).view(len(flat), steps + 1, 1, *space).to(subject.inputs.device)
    deletion, insertion = [], []
    for row, one in enumerate(subject.inputs):
        rows = subject.rows[row].expand(steps + 1)
        deletion.append(subject.scores(torch.where(taken[row], baseline, one), rows))
        insertion.append(subject.scores(torch.where(taken[row], one, baseline), rows))
    return torch.stack(deletion), torch.stack(insertion)


def area(curve: Tensor) -> Tensor:
    """Area under curves (B, steps + 1) over shares 0..1 of the pixels, by trapezoids, (B,)."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def pointing(maps: Tensor, masks: Tensor) -> Tensor:
    """Pointing game: whether the highest place of each map lies in its object, bool (B,) (Zhang et al. 2018).

    Maps are smoothed by a Gaussian of `SMOOTH` of each side, as gradients at single pixels are mostly noise.

    Args:
        maps: (B, ...), enlarged to the masks.
        masks: bool (B, *space), of the object.
    """
    places = smoothed(stretched(maps, tuple(masks.shape[1:]))).flatten(1).argmax(1)
    return masks.flatten(1).gather(1, places.to(masks.device)[:, None])[:, 0]


def smoothed(maps: Tensor) -> Tensor:
    """Gaussian of a standard deviation of `SMOOTH` of each side over maps (B, *space); the border counts once."""
    for axis, side in enumerate(maps.shape[1:], 1):
        places = torch.arange(side, device=maps.device)
        weights = (-0.5 * ((places[:, None] - places) / (SMOOTH * side)) ** 2).exp()
        weights = (weights / weights.sum(1, keepdim=True)).to(maps)
        maps = (maps.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    return maps


def energy(maps: Tensor, masks: Tensor) -> Tensor:
    """Share 0..1 of each map's positive values inside of its object, (B,); compare with the object's share of the area.

    Args:
        maps: (B, ...), enlarged to the masks.
        masks: bool (B, *space).
    """
    values = stretched(maps, tuple(masks.shape[1:])).clamp(min=0).flatten(1)
    inside = (values * masks.flatten(1).to(values)).sum(1)
    return inside / values.sum(1).clamp(min=1e-30)


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's rank correlation -1..1 of maps (B, ...), (B,); 0 of a map that is the same everywhere."""
    ranks = [_ranks(maps.flatten(1).double().cpu()) for maps in (one, other)]
    first, second = (rank - rank.mean(1, keepdim=True) for rank in ranks)
    size = first.norm(dim=1) * second.norm(dim=1)
    return ((first * second).sum(1) / size.where(size > 0, 1.0)).where(size > 0, 0.0).float()


def _ranks(flat: Tensor) -> Tensor:
    """Ranks (B, N), equals share their mean."""
    rows = []
    for row in flat:
        _, inverse, counts = row.unique(return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        rows.append((last - (counts - 1) / 2)[inverse])
    return torch.stack(rows)


def randomization(
    network: nn.Module, explain: Callable[[], Tensor], depths: int = DEPTHS, seed: int = 0
) -> tuple[list[str], Tensor]:
    """Cascading randomization: correlation of maps with those of a network of random weights (Adebayo et al. 2018).

    From the output to the input more and more layers get their own weights in random order; at the end all. A map that
    stays the same does not depend on what the network has learned. All weights are put back.

    Args:
        network: that is explained.
        explain: gives the maps (B, ...) of the network as it is.
        depths: number of steps, at most one for each layer.
        seed: of the random order.

    Returns:
        The last layer that became random, and the rank correlation (steps, B) of the absolute maps.
    """
    before = explain().abs()
    layers = [(name, layer) for name, layer in network.named_modules() if layer._parameters]
    ends = torch.linspace(0, len(layers), min(depths, len(layers)) + 1).round().int().tolist()
    names, found = [], []
    with restored(network):
        generator = torch.Generator().manual_seed(seed)
        for start, end in pairwise(ends):
            for _, layer in layers[::-1][start:end]:
                shuffle(layer, generator)
            names.append(layers[::-1][end - 1][0])
            found.append(rank_correlation(before, explain().abs()))
    return names, torch.stack(found)


def shuffle(layer: nn.Module, generator: torch.Generator) -> None:
    """Put the weights of a layer into random order, which keeps their spread."""
    with torch.no_grad():
        for values in layer.parameters(recurse=False):
            order = torch.randperm(values.numel(), generator=generator).to(values.device)
            values.copy_(values.flatten()[order].view_as(values))


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Put all weights of a network back at the end."""
    kept = {name: value.detach().clone() for name, value in network.named_parameters()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(kept[name])
