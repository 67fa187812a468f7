"""MoCo v1 and v2: momentum contrast (He et al. 2020; Chen, Fan, Girshick and He 2020)."""

import math
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from modules.contracts import Batch, ConfigError
from modules.heads import Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.contrastive import info_nce
from modules.training.embedding_queue import Queue
from modules.training.teacher import Teacher
from tasks.pretraining import MomentumEncoderPretraining, ViewPretraining, positive


class MoCo(ViewPretraining, MomentumEncoderPretraining):
    """Self-supervised: momentum contrast of two views against a queue of negative keys.

    Defaults are v2; v1 has a head with `layers: 1`, temperature 0.07 and weaker augmentation (`tasks/moco_v1.yaml`).

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection without batch norm, as in the
            paper.
        embed_dim: size D of queries and keys.
        queue_size: keys of earlier steps that serve as negatives, a multiple of those of a step: of the global batch
            size, or of twice that if `symmetric`.
        temperature: divides the cosine similarities.
        shuffle_bn_groups: shuffling BN: number of shuffled groups that the batch falls into for the keys' batch norm,
            so that statistics do not give away which key belongs to which query; 1 is off.
        symmetric: let each view be query and key in turn; twice the work, and twice the new keys, per batch. The paper
            does not.
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    stateful_part = "queue"
    protocols: ClassVar[dict[str, str]] = {"loss": "InfoNCE against the queue as training left it"}

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 128,
        queue_size: int = 4096,
        temperature: float = 0.2,
        shuffle_bn_groups: int = 4,
        symmetric: bool = False,
        momentum: float = 0.99,
        final_momentum: float = 0.99,
        **kwargs,
    ):
        super().__init__(
            head=head or partial(Projection, norm=False),
            embed_dim=embed_dim,
            momentum=momentum,
            final_momentum=final_momentum,
            **kwargs,
        )
        positive(temperature=temperature)
        positive(queue_size=queue_size, shuffle_bn_groups=shuffle_bn_groups)
        self.teacher = Teacher(self.backbone, self.head)
        self.queue = Queue(queue_size, embed_dim)
        self.temperature, self.shuffle_bn_groups, self.symmetric = temperature, shuffle_bn_groups, symmetric

    def chance_loss(self) -> float | None:
        """Logarithm of 1 + K: the positive key is no nearer to the query than the K keys of the queue.

        So it is of embeddings that point in all directions, as the random ones that the queue begins with: those of a
        new network whose head ends in batch norm. Without it all images have much the same embedding at first, far from
        those of the queue, and the loss begins near 0.
        """
        return math.log(1 + len(self.queue.keys))

    def check_batch(self, size: int) -> None:
        super().check_batch(size)
        length, everything = len(self.queue.keys), size * self.trainer.world_size * (1 + self.symmetric)
        if length % everything:
            nearest = max(1, round(length / everything)) * everything
            twice = ", twice as the loss is symmetric" if self.symmetric else ""
            raise ConfigError(
                f"model.queue_size is {length}, but it must be a multiple of the {everything} keys of a step (the "
                f"global batch size{twice}): take {nearest}"
            )
        if size % self.shuffle_bn_groups or size // self.shuffle_bn_groups < 2:
            raise ConfigError(
                f"data.batch_size {size} does not fall into model.shuffle_bn_groups {self.shuffle_bn_groups} equal "
                f"groups of two or more: choose a multiple, or --model.shuffle_bn_groups 1"
            )

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        first, second = batch["views"]
        roles = [(first, second), (second, first)][: 1 + self.symmetric]
        queries, keys = [self(query) for query, _ in roles], [self._keys(key) for _, key in roles]
        negatives = self.queue.keys.clone()  # the push below must not change what gradients need
        losses = [info_nce(q, k, negatives, self.temperature) for q, k in zip(queries, keys, strict=True)]
        if self.training:
            for key in keys:
                self.queue.push(self.gather(key))
        return {"loss": torch.stack(losses).mean(), "embeddings": queries[0]}

    def _keys(self, view: Tensor) -> Tensor:
        """Normalized keys (B, D) of a view."""
        if self.training and self.shuffle_bn_groups > 1:
            order = torch.randperm(len(view)).to(view.device)
            parts = view[order].chunk(self.shuffle_bn_groups)
            keys = torch.cat([self.teacher(part) for part in parts])[order.argsort()]
        else:
            keys = self.teacher(view)
        return torch.nn.functional.normalize(keys.float(), dim=1)
