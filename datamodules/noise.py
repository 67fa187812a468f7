"""Nothing but places for generated images."""

from typing import Any, ClassVar

from torch.utils.data import Dataset

from datamodules.base import DataModule, Purpose, Split
from datamodules.roles import Role
from modules.contracts import Batch, ConfigError


class Places(Dataset):
    """Names for so many images that are yet to be made."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: tuple[int, int]) -> str:
        return f"{key[1]:06d}"


class Noise(DataModule):
    """For `predict` with a task that makes images: how many. `--seed_everything` says which.

    Args:
        count: images to make.
        batch_size: images made at once; changes none of them.
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
