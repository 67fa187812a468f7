"""NNCLR: nearest-neighbor contrastive learning of visual representations (Dwibedi et al. 2021)."""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from modules.contracts import Batch
from modules.heads import MLP, Projection
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.losses.contrastive import nt_xent
from modules.training.embedding_queue import Queue
from tasks.pretraining import ViewPretraining, check_queue, positive


class NNCLR(ViewPretraining):
    """Self-supervised: contrast a view's prediction with the other view's nearest neighbor among earlier images.

    The loss is NT-Xent, as lightly has it: negatives are predictions and neighbors of the batch. The paper contrasts
    each neighbor with the predictions alone.

    Args:
        head: projection head; only the backbone is kept afterward; null is a Projection of 3 layers with `last_norm`.
        embed_dim: size D of the embeddings that are compared.
        hidden: width of the predictor's hidden layer.
        queue_size: embeddings of earlier steps among which neighbors are searched, the support set.
        temperature: divides the cosine similarities.
    """

    stateful_part = "queue"
    protocols: ClassVar[dict[str, str]] = {
        "loss": "NT-Xent of predictions and neighbors in the queue as training left it, within batches of one device"
    }

    def __init__(
        self,
        head: HeadFactory[EmbeddingHead] | None = None,
        embed_dim: int = 256,
        hidden: int = 1024,
        queue_size: int = 16384,
        temperature: float = 0.1,
        **kwargs,
    ):
        super().__init__(head=head or partial(Projection, layers=3, last_norm=True), embed_dim=embed_dim, **kwargs)
        self.refuse_averages("a queue of embeddings, of which an average means nothing")
        positive(hidden=hidden, queue_size=queue_size, temperature=temperature)
        self.predictor = MLP(embed_dim, hidden, embed_dim)
        self.queue = Queue(queue_size, embed_dim)
        self.temperature = temperature

    def chance_loss(self) -> float | None:
        return self.chance_among_views()

    def check_batch(self, size: int) -> None:
        super().check_batch(size)
        check_queue(len(self.queue.keys), size * self.trainer.world_size)

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> dict[str, Tensor]:
        embeddings = [self(view) for view in batch["views"]]
        losses = []
        for view, other in (embeddings, embeddings[::-1]):
            neighbor, prediction = self.global_batch([self.queue.nearest(view), self.predictor(other)])
            losses.append(nt_xent(neighbor, prediction, self.temperature))
        if self.training:
            self.queue.push(normalize(self.gather(embeddings[0].detach()).float(), dim=1))
        return {"loss": torch.stack(losses).mean(), "embeddings": torch.cat(embeddings)}
