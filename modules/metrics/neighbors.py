"""k-nearest-neighbor (kNN) classification by L1, L2 or cosine distance, with rules for ties. Pure functions."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

Distance = Literal["cosine", "l1", "l2"]
Ties = Literal["nearest", "smallest", "shrink"]

CHUNK = 2**24  # numbers of one array
_PAIRWISE = "donot_use_mm_for_euclid_dist"


def nearest(bank: Tensor, queries: Tensor, k: int, distance: Distance) -> tuple[Tensor, Tensor]:
    """Nearest neighbors, each distance computed by itself: equal rows of the bank are equally far, to the last bit.

    Args:
        bank: features (M, D), M >= k.
        queries: features (N, D).
        k: number of neighbors.
        distance: `l1` is the sum of absolute differences, `l2` the Euclidean distance, `cosine` one minus the cosine.

    Returns:
        distances float32 (N, k), the smallest first, and rows of the bank int64 (N, k); among equally far ones those
        that come first in the bank.
    """
    bank, queries = bank.float(), queries.float()
    if distance == "cosine":
        bank, queries = normalize(bank, dim=1), normalize(queries, dim=1)
    found = [_nearest(bank, part, k, 1.0 if distance == "l1" else 2.0) for part in queries.split(_rows(len(bank)))]
    distances, rows = (torch.cat(parts) for parts in zip(*found, strict=True))
    return (distances.square() / 2 if distance == "cosine" else distances), rows


def majority(labels: Tensor, classes: int, ties: Ties = "nearest") -> Tensor:
    """Majority vote, one vote per neighbor.

    Args:
        labels: classes of the neighbors, int64 (N, k), the nearest first.
        classes: number of classes C.
        ties: the winner among classes with equally many votes. `nearest`: the class of the nearest of their neighbors;
            `smallest`: the first class, as in scikit-learn; `shrink`: the winner of the vote without the farthest
            neighbor, and so on until there is one.

    Returns:
        int64 (N,).
    """
    each = labels.shape[1] * classes if ties == "shrink" else classes
    return torch.cat([_majority(part, classes, ties) for part in labels.split(_rows(each))])


def _majority(labels: Tensor, classes: int, ties: Ties) -> Tensor:
    if ties == "shrink":
        votes = one_hot(labels, classes).cumsum(1)  # (N, k, C): of the first neighbor, of the first two, ...
        best, winner = votes.max(2)
        clear = (votes == best[..., None]).sum(2) == 1
        last = (clear * torch.arange(1, labels.shape[1] + 1, device=labels.device)).argmax(1)
        return winner.gather(1, last[:, None]).squeeze(1)
    votes = torch.zeros(len(labels), classes, dtype=torch.int64, device=labels.device)
    votes.scatter_add_(1, labels, torch.ones_like(labels))
    tied = votes == votes.amax(1, keepdim=True)
    if ties == "smallest":
        return tied.int().argmax(1)  # the first of equals
    return labels.gather(1, tied.gather(1, labels).int().argmax(1, keepdim=True)).squeeze(1)


def _nearest(bank: Tensor, queries: Tensor, k: int, p: float) -> tuple[Tensor, Tensor]:
    """As `nearest`: `topk` alone would take any of equally far ones."""
    pairwise = p == 1 or queries.is_cuda  # on a CPU slow
    distances = torch.cdist(queries, bank, p, _PAIRWISE) if pairwise else _euclidean(bank, queries, k)
    farthest = distances.topk(k, dim=1, largest=False).values[:, -1:]
    nearer, level = distances < farthest, distances == farthest
    level &= level.cumsum(1) <= k - nearer.sum(1, keepdim=True)
    rows = (nearer | level).nonzero()[:, 1].view(-1, k)  # in the order of the bank
    chosen, order = distances.gather(1, rows).sort(dim=1, stable=True)
    return chosen, rows.gather(1, order)


def _euclidean(bank: Tensor, queries: Tensor, k: int) -> Tensor:
    """L2 distances (N, M) of all that may be among the k nearest; infinite elsewhere.

    A product of matrices finds them, with a margin for its rounding; each distance is then computed by itself.
    """
    center = bank.mean(0)
    centered, around = bank - center, queries - center
    lengths, own = centered.square().sum(1), around.square().sum(1, keepdim=True)
    squared = own + lengths - 2 * around @ centered.T
    margin = 4 * bank.shape[1] * torch.finfo(torch.float32).eps * (own + lengths.max())
    level = squared.topk(k, dim=1, largest=False).values[:, -1:] + 2 * margin
    distances = torch.full_like(squared, torch.inf)
    for pairs in (squared <= level).nonzero().split(_rows(bank.shape[1])):
        row, column = pairs.T
        distances[row, column] = torch.linalg.vector_norm(queries[row] - bank[column], dim=1)
    return distances


def _rows(numbers: int) -> int:
    """Rows of so many numbers that fit into one array."""
    return max(1, CHUNK // numbers)
