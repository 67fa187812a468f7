"""SwAV: unsupervised learning of visual features by contrasting cluster assignments (Caron et al. 2020)."""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.optim import Optimizer

from modules.contracts import Batch, ConfigError, check_range
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.distillation import dino
from modules.training.embedding_queue import Queue
from tasks.pretraining import ViewPretraining, check_queue, positive


class SwAV(ViewPretraining):
    """Self-supervised clustering: predict a view's code, its balanced shares of prototypes, from the other views.

    Codes are those of the `data.views` global views, by Sinkhorn's scaling over the global batch and the queue;
    the `data.local_views` predict them too (multi-crop).

    Args:
        head: projection head; only the backbone is kept afterward.
        embed_dim: size D of embeddings and prototypes.
        prototypes: number K of prototypes, unit vectors; at most as many as images of the global batch and queue.
        temperature: softmax temperature of the predictions.
        code_temperature: of the codes; lower is sharper. Epsilon in the paper.
        queue_size: embeddings of earlier steps that codes are balanced over too, for small batches; 0 is off.
        queue_start: number of first epochs in which the queue is filled, but not used.
        freeze_last: number of first epochs in which the prototypes are frozen.
    """

    views = (2, 100)
    protocols: ClassVar[dict[str, str]] = {
        "loss": "cross-entropy of predictions to codes over pairs of different views; codes of batches of one device"
    }

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] = Projection,
        embed_dim: int = 128,
        prototypes: int = 512,
        temperature: float = 0.1,
        code_temperature: float = 0.05,
        queue_size: int = 0,
        queue_start: int = 0,
        freeze_last: int = 1,
        **kwargs,
    ):
        super().__init__(head=head, embed_dim=embed_dim, **kwargs)
        check_range("model.prototypes", prototypes, 2)  # one has all of every view, and the loss is 0
        positive(temperature=temperature, code_temperature=code_temperature)
        for name, value in (("queue_size", queue_size), ("queue_start", queue_start), ("freeze_last", freeze_last)):
            check_range(f"model.{name}", value)
        self.prototypes = nn.Linear(embed_dim, prototypes, bias=False)
        self.normalize_prototypes()
        self.queue = Queue(queue_size, embed_dim) if queue_size else None
        if self.queue:
            self.stateful_part = "queue"
            self.refuse_averages("a queue of embeddings, of which an average means nothing")
            self.queue.keys.zero_()  # of a queue that is not full
        self.temperature, self.code_temperature = temperature, code_temperature
        self.queue_start, self.freeze_last, self._full = queue_start, freeze_last, False

    def check_batch(self, size: int) -> None:
        super().check_batch(size)
        everything = size * self.trainer.world_size
        queued = len(self.queue.keys) if self.queue else 0
        if self.queue:
            check_queue(queued, everything)
        if everything + queued < self.prototypes.out_features:
            raise ConfigError(
                f"model.prototypes is {self.prototypes.out_features}, but codes share out the prototypes evenly among "
                f"the {everything} images of the global batch and {queued} of the queue: set --model.prototypes to "
                f"{everything + queued} or less, or --model.queue_size to "
                f"{-(-self.prototypes.out_features // everything) * everything}"
            )

    def chance_loss(self) -> float | None:
        """Logarithm of K: predictions that give all prototypes the same probability, whatever the codes say."""
        return math.log(self.prototypes.out_features)

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to unit embeddings (B, D)."""
        return normalize(self.answer(self.head, image), dim=1)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        views = batch["views"]
        embeddings = self.by_size(views)
        logits = [self.prototypes(each) for each in embeddings]
        large = embeddings[: sum(view.shape == views[0].shape for view in views)]
        earlier = self._queued_logits()
        codes = [self.balanced(each, self.code_temperature, earlier) for each in logits[: len(large)]]
        if self.queue is not None and self.training:
            for each in large:
                self.queue.push(self.gather(each.detach()))
        return {"loss": dino(logits, codes, self.temperature), "embeddings": torch.cat(large)}

    @torch.no_grad()
    def _queued_logits(self) -> Tensor | None:
        """Cosines (N, K) of the queue, in training from `queue_start` on, once it is full."""
        if self.queue is None or not self.training or self.current_epoch < self.queue_start:
            return None
        self._full = self._full or bool(self.queue.keys[-1].any())
        return self.prototypes(self.queue.keys) if self._full else None

    def on_before_optimizer_step(self, optimizer: Optimizer, *_: Any) -> None:
        if self.current_epoch < self.freeze_last:
            self.prototypes.weight.grad = None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.current_epoch >= self.freeze_last:
            self.normalize_prototypes()

    @torch.no_grad()
    def normalize_prototypes(self) -> None:
        """Bring the prototypes to length 1."""
        self.prototypes.weight.copy_(normalize(self.prototypes.weight, dim=1))
