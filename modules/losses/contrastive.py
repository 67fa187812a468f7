"""Contrastive losses between views of the same images, or of the same class: NT-Xent, InfoNCE and SupCon."""

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(
    first: Tensor,
    second: Tensor,
    temperature: float = 0.5,
    gathered: tuple[Tensor, Tensor] | None = None,
    rank: int = 0,
) -> Tensor:
    """Normalized temperature-scaled cross-entropy (Chen et al. 2020, SimCLR, equation 1), symmetric, in float32.

    Random embeddings start near ln(2 B - 1): each view has one positive among all other views of the batch.

    Args:
        first: (B, D) embeddings of one view of each image; need not be normalized.
        second: (B, D) embeddings of the other view, in the same order.
        temperature: divides the cosine similarities, > 0.
        gathered: the (B * devices, D) embeddings of both views from all devices, in order of rank; adds negatives.
        rank: index of this device's slice of `gathered`.

    Returns:
        The mean over the 2 B views of this device.
    """
    with torch.autocast(first.device.type, enabled=False):
        queries = functional.normalize(torch.cat([first, second]).float(), dim=1)
        pair = (first, second) if gathered is None else gathered
        keys = functional.normalize(torch.cat(pair).float(), dim=1)
        size, total = len(first), len(pair[0])
        here = torch.arange(size, device=first.device) + (rank * size if gathered else 0)
        itself, other = torch.cat([here, here + total]), torch.cat([here + total, here])
        logits = queries @ keys.T / temperature
        logits = logits.scatter(1, itself[:, None], float("-inf"))  # a view is not its own negative
        return functional.cross_entropy(logits, other)


def info_nce(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of the right key among negatives from elsewhere (He et al. 2020, MoCo, equation 1), in float32.

    Starts near ln(K + 1).

    Args:
        queries: (B, D) embeddings; need not be normalized.
        keys: (B, D), the right one for each query.
        negatives: (K, D), wrong for all queries; normalized.
        temperature: divides the cosine similarities, > 0.

    Returns:
        The mean over the queries.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = (functional.normalize(x.float(), dim=1) for x in (queries, keys))
        right = (queries * keys).sum(1, keepdim=True)
        logits = torch.cat([right, queries @ negatives.float().T], dim=1) / temperature
        return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def info_nce_in_batch(queries: Tensor, keys: Tensor, temperature: float, rank: int = 0) -> Tensor:
    """Cross-entropy of the right key among all keys of the batch (Chen et al. 2021, MoCo v3, algorithm 1), in float32.

    Starts near 2 T ln(N); the factor 2 T keeps the gradients' size when the temperature changes.

    Args:
        queries: (B, D) embeddings; need not be normalized.
        keys: (N, D) of all devices in order of rank, N = B * devices.
        temperature: T, divides the cosine similarities, > 0.
        rank: index of the slice of `keys` that belongs to these queries.

    Returns:
        The mean over the queries of this device.
    """
    with torch.autocast(queries.device.type, enabled=False):
        queries, keys = (functional.normalize(x.float(), dim=1) for x in (queries, keys))
        right = torch.arange(len(queries), device=queries.device) + rank * len(queries)
        return 2 * temperature * functional.cross_entropy(queries @ keys.T / temperature, right)


def supcon(embeddings: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, SupCon, equation 2), in float32.

    Equal to `nt_xent` of two views where no two images share a class. Random embeddings start near ln(M - 1).

    Args:
        embeddings: (M, D) of all views of all images; need not be normalized.
        label: int64 (M,) class of each, every class at least twice.
        temperature: divides the cosine similarities, > 0.

    Returns:
        The mean over all embeddings of the mean of -log p over the others of the same class.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        points = functional.normalize(embeddings.float(), dim=1)
        itself = torch.eye(len(points), dtype=torch.bool, device=points.device)
        logs = (points @ points.T / temperature).masked_fill(itself, float("-inf")).log_softmax(1)
        positive = (label[:, None] == label) & ~itself
        return -(logs.where(positive, 0).sum(1) / positive.sum(1)).mean()
