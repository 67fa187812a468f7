"""Deterministic samplers: the order is a function of (seed, epoch) alone, on any number of devices, resumable."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import DistributedSampler


class EpochSampler(DistributedSampler):
    """Shuffling sampler of (epoch, index) keys; each device gets every `devices`-th one, so a global batch is shared.

    A DistributedSampler by name only, so that Lightning leaves it alone; it never repeats a sample to even things out.

    Args:
        size: number of samples.
        seed: of the shuffling; null keeps the order and the epoch.
        batch: samples per global batch (all devices); the incomplete last batch of an epoch is dropped. 0 keeps all.
        rank: this device, 0..devices - 1.
        devices: number of devices.
        resume: (epoch, samples) already seen of that epoch by all devices.
        kinds: group of each sample, int (size,); global batches are of one group, but for those between two groups
            (aspect-ratio grouping). Null for none.
        repeats: number of times that each sample comes in a row, with an epoch of its own in every key (repeated
            augmentation); an epoch takes as many times fewer samples.
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
        repeats: int = 1,
    ):
        self.size, self.seed, self.resume = size, seed, resume
        self.kinds, self.batch = kinds, batch
        self.usable = size - size % batch if batch else size
        self.rank, self.devices, self.repeats = rank, devices, repeats
        self.epoch = resume[0]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.arange(self.size)
        if self.seed is not None:
            random = np.random.default_rng((self.seed, self.epoch))
            random.shuffle(order)
            if self.kinds is not None and self.batch:
                order = self._grouped(order[: self.usable], random)
        # Keyed on the epoch, not on "once": Lightning may ask for the same epoch's iterator twice.
        seen = self.resume[1] if self.epoch == self.resume[0] else 0
        places = range(seen + self.rank, self.usable, self.devices)
        return (
            (self.epoch * self.repeats + place % self.repeats, int(order[place // self.repeats])) for place in places
        )

    def __len__(self) -> int:
        return len(range(self.rank, self.usable, self.devices))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by Lightning before every epoch. Ignored in evaluation, which draws the same always."""
        if self.seed is not None:
            self.epoch = epoch

    def _grouped(self, order: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Shuffled batches of one group each, from shuffled samples that fill the batches."""
        batches = order[np.argsort(self.kinds[order], kind="stable")].reshape(-1, self.batch)
        return random.permutation(batches).ravel()


class DistributedSequentialSampler(DistributedSampler):
    """Sequential sampler of (0, index) keys for evaluation; devices take whole batches in turn.

    So a batch holds the same samples on any number of devices, and no sample comes twice. A device for which there is
    no batch gets the first one, which must not count: `surplus`.

    Args:
        size: number of samples.
        batch: samples per batch.
        rank: this device, 0..devices - 1.
        devices: number of devices.
    """

    seed = None

    def __init__(self, size: int, batch: int, rank: int = 0, devices: int = 1):
        self.size, self.batch, self.rank, self.devices = size, batch, rank, devices
        self.surplus = rank * batch >= size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, i) for start in self._starts() for i in range(start, min(start + self.batch, self.size)))

    def __len__(self) -> int:
        return sum(min(self.batch, self.size - start) for start in self._starts())

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the order is the same in every epoch."""

    def _starts(self) -> Sequence[int]:
        return [0] if self.surplus else range(self.rank * self.batch, self.size, self.devices * self.batch)
