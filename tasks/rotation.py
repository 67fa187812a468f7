"""Rotation prediction: unsupervised representation learning by predicting image rotations (Gidaris et al. 2018)."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from modules.contracts import Batch
from modules.heads import Linear
from tasks.pretraining import Costs, Pretraining


class Rotation(Pretraining):
    """Self-supervised: predict the rotation of an image (0, 90, 180 or 270 degrees).

    Each image is used in all four rotations, so a batch costs as much as four.
    """

    monitor = "val/accuracy"
    mode = "max"
    required_keys: ClassVar[tuple[str, ...]] = ("image",)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "cross-entropy of four turns",
        "accuracy": "of the turn, all four of each image; chance 0.25",
    }

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.head = self.attach(Linear, Linear, 4)

    def chance_loss(self) -> float | None:
        return math.log(4)

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to logits (B, 4) of the quarter turns."""
        return self.answer(self.head, image)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        image = batch["image"]
        turned = torch.cat([torch.rot90(image, turns, (2, 3)) for turns in range(4)])
        turns = torch.arange(4, device=image.device).repeat_interleave(len(image))
        logits = self(turned.contiguous(memory_format=torch.channels_last))
        right = (logits.argmax(1) == turns).float()
        each = {"loss": cross_entropy(logits.float(), turns, reduction="none"), "accuracy": right}
        means = {name: of.unflatten(0, (4, -1)).mean(0) for name, of in each.items()}
        return {"loss": self.head.loss(logits, turns), "accuracy": right.mean(), "each": means}
