"""Queue of embeddings of earlier batches: negatives of MoCo, support set of NNCLR, more images for SwAV's codes."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class Queue(nn.Module):
    """Queue of the last `length` embeddings (keys), initialized with random directions (He et al. 2020, MoCo).

    Args:
        length: embeddings that are kept, K.
        dimension: of each embedding, D.
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

    @torch.no_grad()
    def nearest(self, embeddings: Tensor) -> Tensor:
        """The key of highest cosine similarity to each embedding (N, D), which need not be normalized."""
        with torch.autocast(embeddings.device.type, enabled=False):
            similarity = embeddings.float() @ self.keys.float().T
        return self.keys[similarity.argmax(1)]
