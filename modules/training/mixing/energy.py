"""The energy of PuzzleMix's mask, and its minimum by a graph cut.

    E(z) = sum_i [-z_i s_i - (1 - z_i) t_i - eta log p(z_i) / n^2] + sum_ij [b (z_i - z_j)^2 + b gamma phi(z_i, z_j)]

z_i is the share of the sample itself in cell i, s and t the saliencies of sample and partner (each of sum 1), p
binomial with the mean lambda, phi the mean absolute difference of pixels across the border of two cells, bilinear in z.
"""

import math

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

LEVELS = 2
"""z takes the values 0, 1 / LEVELS, ..., 1."""
SMOOTHNESS, DATA_SMOOTHNESS, PRIOR = 1.2, 0.5, 0.2  # beta, gamma and eta of the published training on CIFAR-100
CAPACITY = 2**24  # of the edge that stands for an energy of 1; the flow counts in whole numbers


def unary_costs(own: Tensor, other: Tensor, share: float) -> Tensor:
    """Cost (B, n, n, LEVELS + 1) of each z without pairs of cells.

    Args:
        own, other: saliencies (B, n, n), of sum 1.
        share: lambda.
    """
    z = torch.linspace(0, 1, LEVELS + 1, device=own.device)
    log_p = [math.log(math.comb(LEVELS, k) * share**k * (1 - share) ** (LEVELS - k) + 1e-8) for k in range(LEVELS + 1)]
    prior = -PRIOR * torch.tensor(log_p, device=own.device) / own.shape[-1] ** 2
    return prior - own[..., None] * z - other[..., None] * (1 - z)


def pair_weights(own: Tensor, other: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of neighboring cells as weights of (z_i - z_j)^2, and what that leaves to single cells.

    z_i z_j is (z_i^2 + z_j^2 - (z_i - z_j)^2) / 2. Weights that would reward an edge become 0, so that a cut minimizes.

    Args:
        own, other: images (B, C, H, W) of samples and partners.
        cells: n on each side, which divide the image.

    Returns:
        Costs (B, n, n, LEVELS + 1), weights (B, n, n - 1) of neighbors side by side, and (B, n - 1, n) of those above
        each other.
    """
    base = SMOOTHNESS / cells / 16
    z = torch.linspace(0, 1, LEVELS + 1, device=own.device)
    costs = torch.zeros(len(own), cells, cells, LEVELS + 1, device=own.device)
    weights = []
    for axis in (2, 1):  # of (B, n, n)
        phi = {(a, b): _border((other, own)[a], (other, own)[b], cells, axis) for a in (0, 1) for b in (0, 1)}
        bend = phi[1, 1] + phi[0, 0] - phi[1, 0] - phi[0, 1]
        square = bend[..., None] * z.square() / 2
        first = square + (phi[1, 0] - phi[0, 0])[..., None] * z
        second = square + (phi[0, 1] - phi[0, 0])[..., None] * z
        costs.narrow(axis, 0, cells - 1).add_(base * DATA_SMOOTHNESS * first)
        costs.narrow(axis, 1, cells - 1).add_(base * DATA_SMOOTHNESS * second)
        weights.append((base - base * DATA_SMOOTHNESS * bend / 2).clamp_min(0))
    return costs, weights[0], weights[1]


def minimize(unary: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Levels k (B, n, n) of the z = k / LEVELS of least energy, on the device of `unary`.

    A minimum cut with a chain of LEVELS nodes per cell (Ishikawa 2003), which is exact for squares of differences.

    Args:
        unary: costs (B, n, n, LEVELS + 1).
        across, down: weights of the squared differences of z, as of `pair_weights`.
    """
    rows = zip(*(tensor.double().cpu().numpy() for tensor in (unary, across, down)), strict=True)
    return torch.stack([torch.from_numpy(_cut(*row)) for row in rows]).to(unary.device)


def _border(first: Tensor, second: Tensor, cells: int, axis: int) -> Tensor:
    """Mean absolute difference of the last pixels of a cell of `first` and the first of its neighbor in `second`."""
    size = first.shape[axis + 1] // cells
    last = torch.arange(size - 1, first.shape[axis + 1] - 1, size, device=first.device)
    apart = (first.index_select(axis + 1, last) - second.index_select(axis + 1, last + 1)).abs().mean(1)
    if axis == 2:  # (B, H, n - 1)
        return apart.unflatten(1, (cells, -1)).mean(2)
    return apart.unflatten(2, (cells, -1)).mean(3)


def _cut(unary: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    cells = len(unary)
    index, k = np.arange(cells**2).reshape(cells, cells), np.arange(LEVELS + 1)
    unary, sides = unary.reshape(-1, LEVELS + 1).copy(), []
    for left, right, weight in ((index[:, :-1], index[:, 1:], across), (index[:-1], index[1:], down)):
        weight = weight.ravel() / LEVELS**2
        for end in (left.ravel(), right.ravel()):  # edges between all levels count this too much
            np.subtract.at(unary, end, weight[:, None] * (LEVELS * k - k**2))
        sides += [(left.ravel(), right.ravel(), weight), (right.ravel(), left.ravel(), weight)]
    unary -= unary.min(1, keepdims=True)
    source, sink = LEVELS * cells**2, LEVELS * cells**2 + 1
    nodes = np.arange(cells**2) * LEVELS
    chain = [np.full(cells**2, source), *(nodes + a for a in range(LEVELS)), np.full(cells**2, sink)]
    edges = [(chain[a], chain[a + 1], unary[:, a]) for a in range(LEVELS + 1)]
    edges += [(nodes + a + 1, nodes + a, np.full(cells**2, 32.0)) for a in range(LEVELS - 1)]
    edges += [(LEVELS * i + a, LEVELS * j + b, w) for i, j, w in sides for a in range(LEVELS) for b in range(LEVELS)]
    begin, end, capacity = (np.concatenate(part) for part in zip(*edges, strict=True))
    whole = np.minimum(np.rint(capacity * CAPACITY), 2**30).astype(np.int32)
    graph = csr_array((whole, (begin, end)), shape=(sink + 1, sink + 1))
    graph.sum_duplicates()
    left_over = graph - maximum_flow(graph, source, sink).flow
    left_over.eliminate_zeros()
    reached = np.zeros(sink + 1, bool)
    reached[breadth_first_order(left_over, source, return_predecessors=False)] = True
    return reached[:source].reshape(cells, cells, LEVELS).sum(-1)
