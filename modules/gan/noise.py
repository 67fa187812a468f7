"""Noise that is the same wherever and with whatever else it is drawn."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor


def keyed_noise(keys: Iterable[tuple[int, int]], latent: int) -> Tensor:
    """Normal noise float32 (N, latent), each row a function of its key (seed, index) alone; both are 0 or more."""
    rows = [np.random.default_rng(key).standard_normal(latent, dtype=np.float32) for key in keys]
    return torch.from_numpy(np.stack(rows))
