"""Scores of all samples of a split, on all processes."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors


class ScoreBank(Metric):
    """Collect scores (B, C) and the truth beside them, classes (B,) or tags (B, C).

    Args:
        classes: C.
        tags: the truth is 0 or 1 for each class.
    """

    full_state_update = False
    scores: list[Tensor]
    truth: list[Tensor]

    def __init__(self, classes: int, tags: bool = False):
        super().__init__()
        truth = torch.zeros((0, classes), dtype=torch.uint8) if tags else torch.zeros(0, dtype=torch.int64)
        self.empty = {"scores": torch.zeros(0, classes), "truth": truth}
        for part in self.empty:
            self.add_state(part, default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, truth: Tensor) -> None:
        self.scores.append(scores.float())
        self.truth.append(truth.to(self.empty["truth"].dtype))

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (N, C) and the truth, int64 (N,) or uint8 (N, C); N is 0 for a split without samples."""
        return self._whole("scores").cpu().numpy(), self._whole("truth").cpu().numpy()

    def _whole(self, part: str) -> Tensor:
        return torch.cat([self.empty[part].to(self.device), *getattr(self, part)])

    def _sync_dist(self, dist_sync_fn: Any = gather_all_tensors, process_group: Any = None) -> None:
        """Puts the states of all processes together; torchmetrics' own cannot where one has no samples."""
        for part in self.empty:
            setattr(self, part, dist_sync_fn(self._whole(part), group=process_group or self.process_group))
