"""Queue of negative keys of momentum contrast (MoCo)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Queue(nn.Module):
    """Queue of the last `length` keys, the negatives of MoCo (He et al. 2020); initialized with random directions.

    Args:
        length: keys that are kept, K.
        dimension: of each key, D.
    """

    def __init__(self, length: int, dimension: int):
        super().__init__()
        self.register_buffer("keys", normalize(torch.randn(length, dimension), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: Tensor) -> None:
        """Replace the oldest keys by (N, D) normalized ones, N <= length; waits for no device."""
        index = (self.oldest + torch.arange(len(keys), device=keys.device)) % len(self.keys)
        self.keys[index] = keys.to(self.keys)
        self.oldest.add_(len(keys)).remainder_(len(self.keys))
