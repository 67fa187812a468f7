"""Length bucketing: batches of sentences of similar length, in an order that is a function of (seed, epoch) alone."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DistributedSampler


class LengthBatches(DistributedSampler):
    """Batch sampler by length, of (epoch, rows) keys, a batch each; every `devices`-th one of the epoch's order.

    Samples are sorted by length, those of one length in an order drawn for each epoch, and cut into batches, so that
    every epoch has as many; then the batches are shuffled. A DistributedSampler by name only, so that Lightning leaves
    it alone.

    Args:
        lengths: int (N,), tokens of each sample.
        tokens: at most this many in a batch, padding included: its samples times its longest. A longer sample is a
            batch of its own. Null sets no limit.
        samples: at most this many in a batch; null sets no limit.
        seed: of the shuffling; null sorts by length, the same in every epoch, for evaluation.
        rank: this device, 0..devices - 1.
        devices: number of devices. In training each gets as many batches, and up to devices - 1 are left out.
        resume: (epoch, batches) already seen of that epoch by all devices.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        tokens: int | None,
        samples: int | None,
        seed: int | None,
        rank: int = 0,
        devices: int = 1,
        resume: tuple[int, int] = (0, 0),
    ):
        self.lengths, self.seed = lengths, seed
        self.rank, self.devices, self.resume = rank, devices, resume
        self.ends = _ends(np.sort(lengths), tokens, samples)
        count = len(self.ends)
        self.usable = count if seed is None else count - count % devices
        self.surplus = seed is None and rank >= count  # then it yields the first batch, which must not count
        self.epoch = resume[0]

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        ties, chosen = np.arange(len(self.lengths)), np.arange(len(self.ends))
        if self.seed is not None:
            random = np.random.default_rng((self.seed, self.epoch))
            random.shuffle(ties)
            random.shuffle(chosen)
        batches = np.split(np.lexsort((ties, self.lengths)), self.ends[:-1])
        # Keyed on the epoch, not on "once": Lightning may ask for the same epoch's iterator twice.
        seen = self.resume[1] if self.epoch == self.resume[0] else 0
        first = 0 if self.surplus else seen + self.rank
        return ((self.epoch, batches[i]) for i in chosen[first : self.usable : self.devices])

    def __len__(self) -> int:
        return len(range(0 if self.surplus else self.rank, self.usable, self.devices))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; called by Lightning before every epoch. Ignored in evaluation, which is the same always."""
        if self.seed is not None:
            self.epoch = epoch

    def padding(self) -> float:
        """The share of padding in the tokens of all batches."""
        sizes = np.diff(self.ends, prepend=0)
        return 1 - self.lengths.sum() / (sizes * np.sort(self.lengths)[self.ends - 1]).sum()


def _ends(ascending: np.ndarray, tokens: int | None, samples: int | None) -> np.ndarray:
    """Ends of the batches, exclusive, each as large as the limits allow: int64 (batches,)."""
    ends, start, total = [], 0, len(ascending)
    while start < total:
        most = min(total - start, samples or total)
        if tokens:
            most = min(most, tokens // max(1, int(ascending[start])))  # the longest is no shorter than the first
            window = ascending[start : start + max(1, most)]
            most = int(np.searchsorted(window * np.arange(1, len(window) + 1), tokens, side="right"))
        start += max(1, most)
        ends.append(start)
    return np.array(ends, np.int64)
