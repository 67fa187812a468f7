"""Records of test items: what a task keeps of each image, video or sentence, on any number of processes."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributed import all_gather_object, get_world_size, is_available, is_initialized

from modules.metrics.bootstrap.statistic import Statistic, Sums


class Records:
    """Columns of numbers over the items of a test, collected batch by batch; they wait on the device."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[str], dict[str, Tensor]]] = []

    def begin(self, turn: int, ids: Sequence[str]) -> None:
        """Begin a batch, number `turn` of the split, with the ids of its B items."""
        self.batches.append((turn, list(ids), {}))

    def add(self, stage: str, **columns: Tensor) -> None:
        """Add columns (B, ...) of the current batch; does nothing but in a test."""
        if stage == "test" and self.batches:
            self.batches[-1][2].update({name: column.detach() for name, column in columns.items()})

    def gather(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Ids str (N,) and columns (N, ...) of the batches of all processes in turn; every process must call it.

        Starts anew. Columns that a batch lacks are left out.
        """
        here = [(turn, ids, {k: v.cpu().numpy() for k, v in held.items()}) for turn, ids, held in self.batches]
        self.batches = []
        everyone = [here]
        if is_available() and is_initialized() and get_world_size() > 1:
            everyone = [[] for _ in range(get_world_size())]
            all_gather_object(everyone, here)
        batches = sorted((batch for each in everyone for batch in each), key=lambda batch: batch[0])
        names = [name for name in (batches[0][2] if batches else ()) if all(name in held for _, _, held in batches)]
        ids = np.array([name for _, ids, _ in batches for name in ids], dtype=str)
        return ids, {name: np.concatenate([held[name] for _, _, held in batches]) for name in names}


def means(columns: dict[str, np.ndarray]) -> list[Statistic]:
    """Means of columns: (N,) values, or (N, 2) values and their weights."""
    made: list[Statistic] = []
    for name, column in columns.items():
        if column.ndim == 1:
            top, weight = column, np.ones(len(column))
        else:
            weight = column[:, 1]
            top = np.where(weight > 0, column[:, 0] * weight, 0)  # a loss over nothing is not a number
        made.append(Sums("means", [name], np.stack([top, weight], 1)))
    return made


def per_item(loss: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """Loss (B,) of each item alone: `loss` takes the tensors of a batch."""
    return torch.stack([loss(*(part[i : i + 1] for part in batch)) for i in range(len(batch[0]))])
