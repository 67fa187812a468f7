"""Which sample comes when: a function of (seed, epoch) alone, on any number of devices, from any point on."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler


class EpochSampler(DistributedSampler):
    """Yields (epoch, index) keys; every `devices`-th one of the epoch's order, so that devices share a global batch.

    A DistributedSampler by name only, so that Lightning leaves it alone; it never repeats a sample to even things out.

    Args:
        size: number of samples.
        seed: of the shuffling; null keeps the order and the epoch, for evaluation.
        batch: samples per global batch (all devices); the incomplete last batch of an epoch is dropped. 0 keeps all.
        rank: this device, 0..devices - 1.
        devices: number of devices.
        resume: (epoch, samples) already seen of that epoch by all devices.
        kinds: whole numbers (size,); global batches are of one kind, but for those between two kinds. Null for none.
    """

    def __init__(
        self,
        size: int,
        seed: int | None,
        batch: int = 0,
        rank: int = 0,
        devices: int = 1,
        resume: tuple[int, int] = (0, 0),
        kinds: np.ndarray | None = None,
    ):
        self.size, self.seed, self.resume = size, seed, resume
        self.kinds, self.batch = kinds, batch
        self.whole = size - size % batch if batch else size
        self.rank, self.devices = rank, devices
        self.epoch = resume[0]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.size)
        if self.seed is not None:
            random = np.random.default_rng((self.seed, self.epoch))
            random.shuffle(order)
            if self.kinds is not None and self.batch:
                order = self._grouped(order[: self.whole], random)
        # Keyed on the epoch, not on "once": Lightning may ask for the same epoch's iterator twice.
        seen = self.resume[1] if self.epoch == self.resume[0] else 0
        return ((self.epoch, int(i)) for i in order[seen + self.rank : self.whole : self.devices])

    def __len__(self) -> int:
        return len(range(self.rank, self.whole, self.devices))

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before every epoch, of evaluation too, which draws the same at any time."""
        if self.seed is not None:
            self.epoch = epoch

    def _grouped(self, order: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Shuffled samples, as many as fill batches, so that a batch's are of one kind and the batches are shuffled."""
        batches = order[np.argsort(self.kinds[order], kind="stable")].reshape(-1, self.batch)
        return random.permutation(batches).ravel()
