"""A data module: disks, each with its radius."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules import DataModule
from datamodules.base import Purpose, Split
from datamodules.setting_roles import Role
from modules.contracts import Batch, ConfigError

FIRST: dict[Split, int] = {"train": 0, "val": 1_000_000, "test": 2_000_000}  # number of the first disk; none is shared


class MyData(DataModule):
    """White disks on noise; the number to learn is the radius as a fraction of the image's side.

    Args:
        count: training images; a quarter as many each for validation and test.
        image_size: side of the square images in pixels.
    """

    roles: ClassVar[dict[str, Role]] = {"count": "samples", "image_size": "input"}

    def __init__(self, count: int = 512, image_size: int = 32, **kwargs):
        super().__init__(**kwargs)
        if count < 4:
            raise ConfigError(f"data.count is {count}, but must be at least 4: a quarter is for validation")
        self.count, self.image_size = count, image_size

    def dataset(self, split: Split, purpose: Purpose) -> Dataset:
        count = self.count if split == "train" else self.count // 4
        return Disks(FIRST[split], count, self.image_size, self.seed if purpose == "train" else None)

    def collate(self, samples: list[dict[str, Any]]) -> Batch:
        return {
            "image": torch.from_numpy(np.stack([sample["image"] for sample in samples])).permute(0, 3, 1, 2),
            "number": torch.tensor([sample["number"] for sample in samples]),
            "id": [sample["id"] for sample in samples],
        }


class Disks(Dataset):
    """Disks number `first`, `first` + 1, ..., mirrored at random if there is a seed."""

    def __init__(self, first: int, count: int, side: int, seed: int | None):
        self.first, self.count, self.side, self.seed = first, count, side, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        disk = np.random.default_rng(self.first + index)  # its place, radius and noise, whatever the epoch
        radius, (x, y) = disk.uniform(0.1, 0.4), disk.uniform(0.4, 0.6, 2)
        places = np.linspace(0, 1, self.side)
        inside = (places[:, None] - y) ** 2 + (places - x) ** 2 < radius**2
        image = np.where(inside[..., None], 255, disk.integers(0, 200, (self.side, self.side, 3))).astype(np.uint8)
        if self.seed is not None and np.random.default_rng((self.seed, epoch, index)).random() < 0.5:
            image = image[:, ::-1]
        return {"image": np.ascontiguousarray(image), "number": float(radius), "id": f"disk {self.first + index}"}
