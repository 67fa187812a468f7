"""Number of samples actually evaluated in each split."""

from hashlib import blake2b
from typing import Any

import lightning as L
import torch

from modules.contracts import Batch, counted


class Counts(L.Callback):
    """Count the samples evaluated in the latest pass over each split, on all devices, each once.

    Unreadable samples and those left out by `limit_val_batches`, `limit_test_batches` or `fast_dev_run` do not count.

    Attributes: `counts` by split, `val` and `test`; known on every process after a pass.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._seen: set[bytes] = set()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seen = set()

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        self._seen.update(
            blake2b(name.encode(errors="surrogateescape"), digest_size=8).digest() for name in batch["id"]
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._count(trainer, "val")

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._count(trainer, "test")

    def protocol_lines(self, trainer: L.Trainer) -> dict[str, str]:
        """Beginning of the protocol of all metrics of a split: the number of evaluated samples."""
        lines, data = {}, trainer.datamodule
        for split, count in self.counts.items():
            total = len(data.dataset(split, "plain"))
            of = "" if count == total else f"{count:,} of "
            lines[split] = of + counted(total, f"{split} {data.noun}")
        return lines

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end

    def _count(self, trainer: L.Trainer, split: str) -> None:
        seen, self._seen = self._seen, set()
        if trainer.world_size > 1:  # each device evaluated its share
            everyone: list[set[bytes]] = [set()] * trainer.world_size
            torch.distributed.all_gather_object(everyone, seen)
            seen = set().union(*everyone)
        self.counts[split] = len(seen)
