"""Corpus-level text metrics: sentences of a whole set, kept until they are scored together."""

import json
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from modules.metrics.bootstrap import Statistic

References = str | list[str]
"""Reference of a sentence, or several alternative references."""


class Corpus(Metric):
    """Base of metrics that need all sentences at once.

    `compute` of several processes sees the sentences of all, in the order of a single process that had got the batches
    in turn from the first of each. They wait as bytes, because torchmetrics moves states and exchanges tensors only.

    Args:
        full: compute slow scores too, where a metric has some.

    Attributes:
        statistics: what resampling the sentences takes, known after `compute`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    rows: list[Tensor]

    def __init__(self, full: bool = True) -> None:
        super().__init__()
        self.full = full
        self.statistics: list[Statistic] = []
        self.add_state("rows", [], dist_reduce_fx="cat")

    def set_full(self, full: bool) -> None:
        """Compute slow scores too, or leave them out."""
        self.full = full

    def update(self, hypotheses: Sequence[str], references: Sequence[References]) -> None:
        """Takes a batch.

        Args:
            hypotheses: B sentences.
            references: for each what it is compared with.

        Raises:
            ValueError: there are more of one than of the other.
        """
        self.rows.append(_packed(list(zip(hypotheses, references, strict=True))))

    def sentences(self) -> tuple[list[str], list[Any]]:
        """All hypotheses, and their references."""
        pairs = list(chain.from_iterable(map(_unpacked, self.rows)))
        return [said for said, _ in pairs], [true for _, true in pairs]

    def _sync_dist(self, dist_sync_fn: Any = gather_all_tensors, process_group: Any = None) -> None:
        """Takes the batches of all processes in turn; torchmetrics' own cannot, nor joins bytes of several lists."""
        here = _packed(list(map(_unpacked, self.rows))).to(self.device)
        gathered = dist_sync_fn(here, group=process_group or self.process_group)
        batches = chain.from_iterable(zip_longest(*map(_unpacked, gathered), fillvalue=[]))
        self.rows = [_packed(list(chain.from_iterable(batches)))]


def _packed(pairs: list[Any]) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(pairs).encode()), dtype=torch.uint8)


def _unpacked(row: Tensor) -> list[Any]:
    return json.loads(row.cpu().numpy().tobytes())
