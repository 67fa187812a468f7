"""Scores of all samples of a split, on all processes."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class ScoreBank(Metric):
    """Collect scores (B, C) and the truth beside them, (B,) or (B, C).

    Args:
        classes: C.
    """

    full_state_update = False
    scores: list[Tensor]
    truth: list[Tensor]

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")

    def update(self, scores: Tensor, truth: Tensor) -> None:
        self.scores.append(scores.float())
        self.truth.append(truth)

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 (N, C) and the truth (N, ...); N is 0 for a split without samples."""
        if not self.scores:
            return np.zeros((0, self.classes), np.float32), np.zeros((0, self.classes), np.uint8)
        scores, truth = (torch.as_tensor(dim_zero_cat(part)).cpu().numpy() for part in (self.scores, self.truth))
        return scores, truth
