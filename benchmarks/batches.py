"""Batches that are ready in memory, so that a benchmark measures training and not loading."""

import numpy as np
import torch
from torch.utils.data import DataLoader

from datamodules.base import DataModule
from modules.contracts import Batch

DIFFERENT = 4  # batches that are kept; they come round again


class Batches(DataModule):
    """The same few random batches over and over, as a data module's collate would give them.

    Args:
        steps: batches per epoch.
        image_size: side of the images in pixels.
        views: 1 gives `image`, 2 or more `views`.
        batch_size: images per batch.
    """

    def __init__(self, steps: int = 35, image_size: int = 32, views: int = 1, batch_size: int = 64):
        super().__init__(batch_size, workers=0)
        self.steps, self.image_size, self.views = steps, image_size, views
        self.classes = [f"class{i}" for i in range(10)]

    @property
    def view_count(self) -> int:
        return self.views

    def dataset(self, split: str, purpose: str) -> None:
        return None  # neither validation nor test

    def train_dataloader(self) -> DataLoader:
        random = np.random.default_rng(0)
        kept = [self._batch(random) for _ in range(min(DIFFERENT, self.steps))]
        return DataLoader([kept[i % len(kept)] for i in range(self.steps)], batch_size=None, collate_fn=_as_it_is)

    def _batch(self, random: np.random.Generator) -> Batch:
        shape = (self.batch_size, self.image_size, self.image_size, 3)
        arrays = [random.integers(0, 256, shape, np.uint8) for _ in range(self.views)]
        images = [torch.from_numpy(array).permute(0, 3, 1, 2) for array in arrays]  # channels_last, as collate gives it
        shown = {"views": images} if self.views > 1 else {"image": images[0]}
        label = torch.from_numpy(random.integers(0, len(self.classes), self.batch_size))
        return {"id": [f"{i:06d}" for i in range(self.batch_size)], "label": label} | shown


def _as_it_is(batch: Batch) -> Batch:
    return batch
