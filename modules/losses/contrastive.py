"""Losses between views of the same pictures."""

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
    """Normalised temperature-scaled cross-entropy (Chen et al. 2020, SimCLR, equation 1), symmetric, in float32.

    Random embeddings start near ln(2 B - 1): each view has one positive among all other views of the batch.

    Args:
        first: (B, D) embeddings of one view of each picture; need not be normalised.
        second: (B, D) embeddings of the other view, in the same order.
        temperature: divides the cosine similarities, > 0.
        gathered: the (B * devices, D) embeddings of both views from all devices, in order of rank; adds negatives.
        rank: which slice of `gathered` holds this device's embeddings.

    Returns:
        The mean over the 2 B views of this device.
    """
    with torch.autocast(first.device.type, enabled=False):
        queries = functional.normalize(torch.cat([first, second]).float(), dim=1)
        pair = (first, second) if gathered is None else gathered
        keys = functional.normalize(torch.cat(pair).float(), dim=1)
        size, total = len(first), len(pair[0])
        here = torch.arange(size, device=first.device) + rank * size
        itself, other = torch.cat([here, here + total]), torch.cat([here + total, here])
        logits = queries @ keys.T / temperature
        logits = logits.scatter(1, itself[:, None], float("-inf"))  # a view is not its own negative
        return functional.cross_entropy(logits, other)
