"""What one pass over a split leaves to look at: a confusion matrix and a few pictures, never all of them."""

import torch
from lightning.pytorch.strategies import Strategy
from torch import Tensor

GOLDEN = 2654435761  # 2**32 / golden ratio: its multiples modulo 2**32 are spread evenly


class Outcomes:
    """Counts and pictures of a classifier's answers, kept on the device without synchronising.

    Args:
        classes: number of classes C.
        keep: how many pictures to keep of each kind.
        device: of the tensors that will come.
    """

    def __init__(self, classes: int, keep: int, device: torch.device) -> None:
        self.matrix = torch.zeros(classes * classes, dtype=torch.int64, device=device)
        self.mistakes = Highest(keep)
        self.sample = Highest(keep)
        self.seen = 0

    def update(self, image: Tensor, true: Tensor, predicted: Tensor, scores: Tensor, rank: int, world: int) -> None:
        """One batch: picture (B, C, H, W), true and predicted class int64 (B,), probabilities (B, classes)."""
        classes = scores.shape[1]
        # Not bincount: it would make the host wait for the device.
        self.matrix.index_add_(0, true * classes + predicted, torch.ones_like(true))
        confidence = scores.float().gather(1, predicted[:, None]).squeeze(1)
        rows = {"true": true, "predicted": predicted, "confidence": confidence}
        self.mistakes.update(torch.where(predicted != true, confidence, -torch.inf), image, rows)
        # Files usually come sorted by class, so the first few would all be of one. Hashed positions are spread over
        # the whole split, are the same in every epoch, and leave the random number generators alone.
        position = (self.seen + torch.arange(len(true), device=true.device)) * world + rank
        self.sample.update(-(position * GOLDEN % 2**32).float(), image, rows)
        self.seen += len(true)

    def gather(self, strategy: Strategy) -> None:
        """Joins what the processes saw; every process must call it."""
        # Copies, because tensors from inference mode must not be written to outside of it.
        self.matrix = strategy.reduce(self.matrix.clone(), reduce_op="sum")
        self.mistakes.gather(strategy)
        self.sample.gather(strategy)


class Highest:
    """The `size` samples with the highest value among all that were shown; `rows` holds their tensors, best first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.value: Tensor | None = None
        self.rows: dict[str, Tensor] = {}

    def update(self, value: Tensor, image: Tensor, rows: dict[str, Tensor]) -> None:
        """`value` (B,), -inf for a sample that must not be kept; `image` and `rows` of B entries each."""
        value, index = value.topk(min(self.size, len(value)))
        rows = {"image": image[index], **{name: row[index] for name, row in rows.items()}}
        if self.value is None:  # always `size` rows, so that processes with fewer samples can still gather
            self.value = value.new_full((self.size,), -torch.inf)
            self.rows = {name: row.new_zeros((self.size, *row.shape[1:])) for name, row in rows.items()}
        self._choose(torch.cat([self.value, value]), {name: torch.cat([self.rows[name], rows[name]]) for name in rows})

    def gather(self, strategy: Strategy) -> None:
        def joined(row: Tensor) -> Tensor:
            return strategy.all_gather(row.clone()).reshape(-1, *row.shape[1:])

        self._choose(joined(self.value), {name: joined(row) for name, row in self.rows.items()})

    def kept(self) -> dict[str, Tensor]:
        """`rows` without the empty places, on the CPU."""
        count = int(self.value.isfinite().sum())
        return {name: row[:count].cpu() for name, row in self.rows.items()}

    def _choose(self, value: Tensor, rows: dict[str, Tensor]) -> None:
        self.value, index = value.topk(self.size)
        self.rows = {name: row[index] for name, row in rows.items()}
