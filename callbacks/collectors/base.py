"""Base of the collectors: counts and a few examples of one pass over a split, gathered across processes."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import pad

from callbacks.collectors.chosen import arrays as arrays
from modules.contracts import Backbone, Batch, Prediction

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule

NAME = 96  # bytes of an id that are kept, its end
HASH_MULTIPLIER = 2654435761  # 2**32 / golden ratio: its multiples modulo 2**32 are spread evenly


class Collector:
    """Base of the collectors of one kind of prediction, used by the callback `Figures`.

    `update` runs on the device and does not synchronize. After a pass every process calls `gather`, and then the first
    one `write`, `draw`, `tables` and `summarize`.

    Args:
        keep: number of examples to keep, both of a sample of the split and of the worst predictions.
    """

    def __init__(self, keep: int) -> None:
        self.sample = Highest(keep)
        self.worst = Highest(keep)

    def update(self, batch: Batch, outputs: Prediction, task: "LightningModule", first: int) -> None:
        """Add the predictions of one batch, whose first sample is number `first` of the split."""
        raise NotImplementedError

    def write(self, folder: Path, stage: str, task: "LightningModule") -> None:
        """Write metrics to files in `folder`, `<run>/predictions`; `stage` is val or test."""

    def summarize(self, stage: str, task: "LightningModule") -> Iterator[Table | str]:
        """Tables and lines for the final report."""
        return iter(())

    def draw(
        self, stage: str, task: "LightningModule", data: "LightningDataModule"
    ) -> Iterator[tuple[str, np.ndarray]]:
        """Names and figures, uint8 (H, W, 3)."""
        return iter(())

    def tables(self, stage: str) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
        """Names, columns and rows of tables for loggers."""
        return iter(())

    def keep(self, rows: dict[str, Tensor], badness: Tensor, first: int) -> None:
        """Update the sample and the worst: `rows` of B entries each, `badness` (B,), -inf for a correct prediction."""
        self.worst.update(badness, rows)
        self.sample.update(self.spread(badness, first), rows)

    def wanted(self, badness: Tensor, first: int) -> Tensor:
        """Mask (B,) of samples that `keep` may keep, to save computing costly rows of the others."""
        return self.worst.takes(badness) | self.sample.takes(self.spread(badness, first))

    def spread(self, badness: Tensor, first: int) -> Tensor:
        """Sampling priority (B,), 0 or less, independent of the predictions.

        A hash of the position: files are usually sorted by class, so the first few would all be of one. It covers the
        whole split, is the same in every epoch, and leaves the random number generators alone.
        """
        return spread(first, len(badness), badness.device)

    def gather(self) -> None:
        """Merge the collectors of all processes; every process must call it, even one without samples."""
        self.worst.gather()
        self.sample.gather()


def spread(first: int, count: int, device: torch.device) -> Tensor:
    """Sampling priorities (count,), 0 or less, of the samples from number `first` of a split on; see `Collector`."""
    position = first + torch.arange(count, device=device)
    return -(position * HASH_MULTIPLIER % 2**32).float()


class Highest:
    """Keep the `size` samples with the highest values seen so far; `rows` holds their tensors, highest first."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.value: Tensor | None = None
        self.rows: dict[str, Tensor] = {}

    def takes(self, value: Tensor) -> Tensor:
        """Mask (B,) of samples, by their values (B,), that `update` would keep if given alone."""
        return value > (-torch.inf if self.value is None else self.value[-1])

    def update(self, value: Tensor, rows: dict[str, Tensor]) -> None:
        """Add samples by `value` (B,), -inf for one that must not be kept, and `rows` of B entries each.

        Entries of different sizes, such as larger images, are padded at their ends.
        """
        value, index = value.topk(min(self.size, len(value)))
        rows = {name: row.index_select(0, index) for name, row in rows.items()}  # faster than row[index]
        if self.value is None:  # always `size` rows, so that processes with fewer samples can still gather
            self.value = value.new_full((self.size,), -torch.inf)
            self.rows = {name: row.new_zeros((self.size, *row.shape[1:])) for name, row in rows.items()}
        self._choose(torch.cat([self.value, value]), {name: _joined(self.rows[name], rows[name]) for name in rows})

    def gather(self) -> None:
        """Keep the highest of all processes; every process must call it."""
        here = None if self.value is None else (self.value.cpu(), {name: row.cpu() for name, row in self.rows.items()})
        self.value, self.rows = None, {}
        for value, rows in filter(None, exchanged(here)):
            self.update(value, rows)

    def kept(self) -> dict[str, Tensor]:
        """Return `rows` without empty places, on the CPU."""
        count = int(self.value.isfinite().sum())
        return {name: row[:count].cpu() for name, row in self.rows.items()}

    def _choose(self, value: Tensor, rows: dict[str, Tensor]) -> None:
        self.value, index = value.topk(self.size)
        self.rows = {name: row.index_select(0, index) for name, row in rows.items()}


def _joined(one: Tensor, other: Tensor) -> Tensor:
    shape = list(map(max, one.shape[1:], other.shape[1:]))
    return torch.cat([_padded(row, [len(row), *shape]) for row in (one, other)])


def _padded(row: Tensor, shape: list[int]) -> Tensor:
    missing = [wanted - had for wanted, had in zip(shape, row.shape, strict=True)]
    return pad(row, [margin for size in reversed(missing) for margin in (0, size)]) if any(missing) else row


def exchanged(here: Any) -> list[Any]:
    """Gather an object from each process, in order of rank; tensors must be on the CPU."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [here]
    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, here)
    return everyone


def summed(counts: Tensor | None) -> Tensor:
    """Sum the counts of all processes, on the CPU; null for a process without samples."""
    return torch.stack([part for part in exchanged(None if counts is None else counts.cpu()) if part is not None]).sum(
        0
    )


def visible(image: Tensor, backbone: Backbone) -> Tensor:
    """Undo `Backbone.normalize`: float (B, C, ...) to uint8 (B, 3, ...); bytes were not normalized."""
    if image.dtype == torch.uint8:
        return rgb(image)
    return rgb((255 * backbone.restore(image.float())).round_().clamp_(0, 255).to(torch.uint8))


def rgb(image: Tensor) -> Tensor:
    """Convert (B, C, ...) to three channels: gray for one, the first three of more."""
    return image[:, :3] if image.shape[1] >= 3 else image[:, :1].expand(-1, 3, *image.shape[2:])


def name_bytes(ids: list[str]) -> Tensor:
    """The ends of names as uint8 (B, NAME), filled up with zeros, because processes exchange tensors only."""
    ends = [os.fsencode(name)[-NAME:].ljust(NAME, b"\0") for name in ids]
    return torch.frombuffer(bytearray(b"".join(ends)), dtype=torch.uint8).view(-1, NAME)


def name_text(name: np.ndarray) -> str:
    """Text of a name in fixed-width bytes."""
    return name.tobytes().rstrip(b"\0").decode(errors="replace")
