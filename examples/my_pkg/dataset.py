"""A plain dataset: nothing of Graft in it."""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class MyDataset(Dataset):
    """Stripes, upright (class 0) or level (class 1), as floats in 0..1.

    Args:
        count: number of images.
        seed: of their noise.
    """

    classes = ("upright", "level")

    def __init__(self, count: int = 64, seed: int = 0):
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        random = torch.Generator().manual_seed(1000 * self.seed + index)
        stripes = (torch.arange(32) // 4 % 2).expand(3, 32, 32)
        image = stripes if index % 2 == 0 else stripes.mT
        return (image + torch.rand(3, 32, 32, generator=random)) / 2, index % 2
