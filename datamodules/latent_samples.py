"""Indices of images to generate, for `predict` with generative models."""

from typing import Any, ClassVar

from torch.utils.data import Dataset

from datamodules.base import DataModule, Purpose, Split
from datamodules.setting_roles import Role
from modules.contracts import Batch, ConfigError


class Places(Dataset):
    """Names of `count` images to generate."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> str:
        return f"{key[1]:06d}"


class LatentSamples(DataModule):
    """Latent noise for `predict` with a generative model: image generation. `--seed_everything` chooses the images.

    Args:
        count: images to generate.
        batch_size: images generated at once; changes none of them.
    """

    noun = "samples"

    roles: ClassVar[dict[str, Role]] = {"count": "samples"}

    def __init__(self, count: int = 64, batch_size: int = 64):
        super().__init__(batch_size, workers=0)
        if count < 1:
            raise ConfigError(f"data.count is {count}, but it is the number of images to make: 1 or more")
        self.count = count

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        return Places(self.count) if split == "test" and purpose == "plain" else None

    def collate(self, samples: list[Any]) -> Batch:
        return {"id": samples}
