"""Hungarian matching: the assignment of objects to queries with the lowest total cost."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Pairs = tuple[Tensor, Tensor]

WORST = 1e8
"""Magnitude that costs are clipped to."""


@torch.no_grad()
def match(costs: Sequence[Tensor]) -> list[Pairs]:
    """Assign each object of an image to a query of its own, at the lowest total cost (Carion et al. 2020).

    Costs that are NaN, infinite or beyond 1e8 count as 1e8, negative ones as -1e8: such a pair is chosen only where
    nothing else is left, so that a step whose loss overflows is seen as a loss that is not finite, and not as an error
    here. Images with more objects than queries leave the surplus, of the highest cost, without a query.

    Args:
        costs: of each image, (Q, N) for Q queries and N objects; N may be 0.

    Returns:
        Of each image, indices int64 (min(Q, N),) of queries, ascending, and of their objects, on the device of the
        costs.
    """
    sizes = [(each.shape[0], each.shape[1]) for each in costs]
    if not any(queries * objects for queries, objects in sizes):
        return [(torch.zeros(0, dtype=torch.long, device=each.device),) * 2 for each in costs]
    device = costs[0].device
    # one transfer for all images: a GPU would wait for each
    flat = torch.cat([each.detach().flatten().float() for each in costs]).cpu().numpy()
    flat = np.nan_to_num(flat, nan=WORST, posinf=WORST, neginf=-WORST).clip(-WORST, WORST)
    ends = np.cumsum([queries * objects for queries, objects in sizes])[:-1]
    found = [linear_sum_assignment(part.reshape(size)) for part, size in zip(np.split(flat, ends), sizes, strict=True)]
    lengths = [len(rows) for rows, _ in found]
    both = torch.from_numpy(np.concatenate([np.stack(pair) for pair in found], 1)).to(device)
    return [(rows, columns) for rows, columns in (part.unbind(0) for part in both.split(lengths, 1))]
