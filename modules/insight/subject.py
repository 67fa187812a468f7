"""Subject of an explanation: inputs, and the score of their targets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, Batch
from modules.insight.layers import differentiable
from modules.insight.targets import Box

Score = Callable[[Tensor, Tensor], Tensor]
"""Inputs (N, ...) and rows int64 (N,) to scores (N,): of each input for the target of that sample of the subject."""

AT_ONCE = 32


@dataclass(frozen=True)
class Subject:
    """Samples that are explained.

    Args:
        inputs: as the network sees them: (B, C, H, W), or clips (B, C, T, H, W).
        score: differentiable score of an input for the target of a sample.
        network: that gives the scores, whose layers have names; null for an exported file.
        backbone: the part of it with feature maps; null without.
        at_once: inputs in one pass of methods that need many.
        attended: gives maps (B, h, w) of where a decoder attends for the targets; null without.
        boxes: the targets are boxes, which have neighbors.
    """

    inputs: Tensor
    score: Score
    network: nn.Module | None = None
    backbone: Backbone | None = None
    at_once: int = AT_ONCE
    attended: Callable[[], Tensor | None] = lambda: None
    boxes: bool = False

    @classmethod
    def of(
        cls,
        score: Callable[[Batch, Sequence[Any]], Tensor],
        batch: Batch,
        targets: Sequence[Any],
        explained: tuple[nn.Module | None, Backbone | None],
        attended: Callable[[Batch, Sequence[Any]], Tensor | None] = lambda batch, targets: None,
    ) -> "Subject":
        """Samples of a batch, by the `target_score` of a task.

        Args:
            score: a batch and targets to scores (B,).
            batch: of `image` or `video`, and what else the score depends on.
            targets: one per sample.
            explained: network that gives the scores, and its backbone.
            attended: a batch and targets to maps (B, h, w) of where a decoder attends; null without.
        """
        key = "video" if "video" in batch else "image"
        beside = {name: batch[name] for name in ("inside", "size", "proposals") if name in batch}

        def of_rows(inputs: Tensor, rows: Tensor) -> Tensor:
            chosen = rows.tolist()
            taken = {
                name: one[rows] if isinstance(one, Tensor) else [one[i] for i in chosen] for name, one in beside.items()
            }
            return score(taken | {key: inputs}, [targets[i] for i in chosen])

        boxes = all(isinstance(target, Box) for target in targets)
        return cls(batch[key], of_rows, *explained, attended=lambda: attended(batch, targets), boxes=boxes)

    @property
    def rows(self) -> Tensor:
        """Indices of the samples, int64 (B,)."""
        return torch.arange(len(self.inputs), device=self.inputs.device)

    @property
    def space(self) -> torch.Size:
        """Height and width, after the frames of a clip."""
        return self.inputs.shape[2:]

    def scores(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Scores (N,) of any number of inputs, without gradients, `at_once` in a pass."""
        with torch.inference_mode(False), torch.no_grad():
            parts = zip(inputs.split(self.at_once), rows.split(self.at_once), strict=True)
            return torch.cat([self.score(*part).float() for part in parts])

    def gradients_on(self) -> AbstractContextManager[None]:
        """Context in which `score` has gradients."""
        return differentiable(*([] if self.network is None else [self.network]))
