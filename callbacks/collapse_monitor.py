"""Representation collapse in self-supervised pretraining: spread and effective rank of the embeddings."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from modules.contracts import check_sizes
from modules.metrics.representation import effective_rank, embedding_std

FEWEST = 4
"""Embeddings of a batch below which their spread and rank are small of any network."""


class CollapseMonitor(Callback):
    """Log the spread and effective rank of pretraining embeddings, and warn once when they collapse.

    Log keys: `train/embedding_std`, `train/effective_rank`; for tasks whose training step returns `embeddings`.

    Args:
        every: steps between two measurements; each synchronizes with the device.
    """

    def __init__(self, every: int = 50) -> None:
        check_sizes("CollapseMonitor", every=every)
        self.every = every
        self._step = 0
        self._warned = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        # With accumulated gradients several batches end on the same step.
        if not pl_module.pretraining or step % self.every or step == self._step or "embeddings" not in (outputs or {}):
            return
        self._step = step
        embeddings = outputs["embeddings"]
        if len(embeddings) < FEWEST or not embeddings.isfinite().all():
            return  # no spectrum; TerminateOnNaN ends a run that is not finite
        std, rank = embedding_std(embeddings), effective_rank(embeddings)
        pl_module.log_dict({"train/embedding_std": std, "train/effective_rank": rank}, batch_size=1)
        if (std < 0.1 or rank < 2) and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"The embeddings have almost collapsed at step {step}: their spread is {std:.2f} (healthy: near 1) and "
                f"they use {rank:.1f} of {embeddings.shape[1]} dimensions. The network answers nearly the same to "
                "every image and learns little from then on. Try a lower learning rate, a higher temperature, "
                "stronger augmentation or batch norm in the head."
            )
