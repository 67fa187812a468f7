"""Base of self-supervised pretraining methods, with and without a momentum teacher."""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from modules.contracts import Backbone, Batch, ConfigError, Prediction
from modules.contracts.data_info import DataInfo
from modules.export import Graph, Preprocess, feature_graphs
from modules.heads.base import EmbeddingHead, HeadFactory
from modules.insight.targets import Reference, find_references
from modules.losses.distillation import sinkhorn
from modules.training.accumulation import total_steps
from modules.training.teacher import Teacher, momentum_at
from tasks.base import Stage
from tasks.vision import VisionTask

Costs = dict[str, Any]
"""Scalars of a batch, and what `Pretraining.compute_loss` returns beside them."""


class Pretraining(VisionTask):
    """Base of self-supervised methods; a subclass computes the loss of a batch in `compute_loss`."""

    monitor = "val/loss"
    mode = "min"
    pretraining = True
    batch_index = 0

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        if stage == "fit" and data.batch_size is not None:  # of plain loaders it is not known yet
            self.check_batch(data.batch_size)

    def _check(self, batch: Batch) -> None:
        super()._check(batch)
        (least, most), given = self.views, self.views_in(batch)
        if least > 1 and not self.trainer.predicting and not least <= given <= most:
            raise ConfigError(
                f"{type(self).__name__} trains on `views`, {least}{' or more' if most > least else ''} per image, but "
                f"{self.data.name} gives {given or 'none'}: set data.views to {least}"
            )

    def seen(self, batch: Batch) -> Tensor:
        """Images (B, 3, H, W) of a batch without views, or clips (B V, 3, T, H, W)."""
        return batch["image" if "image" in batch else "video"]

    def views_in(self, batch: Batch) -> int:
        """Views of each sample in a batch."""
        return len(batch.get("views", ()))

    def chance_among_views(self) -> float | None:
        """Logarithm of the number of other views in the global batch, two of each image: any may be the other one."""
        pairs = self.data.batch_size and self.data.batch_size * self.trainer.world_size
        return math.log(2 * pairs - 1) if pairs else None

    def check_batch(self, size: int) -> None:
        """Check the batch size per device.

        Raises:
            ConfigError: too small for a method that compares images, by their views.
        """
        if size < 2 <= self.views[0]:
            raise ConfigError(f"{type(self).__name__} compares images: --data.batch_size must be 2 or more")

    def refuse_averages(self, owned: str) -> None:
        """Refuse `ema_decay` and `average_last_epochs` in a task that has a part whose average means nothing.

        Raises:
            ConfigError: one is set; names that part, `owned`.
        """
        if self.ema_decay or self.average_last_epochs:
            raise ConfigError(
                f"{type(self).__name__} has {owned}: leave --model.ema_decay and --model.average_last_epochs at 0"
            )

    def compute_loss(self, batch: Batch, generator: torch.Generator | None) -> Costs:
        """Compute the loss of one batch; returns `loss`, scalars to log, and `embeddings` (N, D) for CollapseMonitor.

        Methods that do not compare images with each other return these scalars of `each` image too, (B,), or (B, 2)
        with weights.

        Args:
            batch: `views` or `image`, normalized.
            generator: random generator of validation; null takes torch's own, which checkpoints hold.
        """
        raise NotImplementedError

    def training_step(self, batch: Batch, index: int) -> dict[str, Tensor]:
        self.batch_index = index
        results = self.compute_loss(batch, None)
        results.pop("each", None)
        shown = {"loss": results["loss"]}
        if "embeddings" in results:
            shown["embeddings"] = results.pop("embeddings").detach()
        self.log_step(results)
        return shown

    def graphs(self, preprocess: Preprocess) -> dict[str, Graph]:
        return feature_graphs(preprocess, self.exported, self.pools)

    def targets(self, batch: Batch, wanted: str | None = None) -> list[Reference | None]:
        """See `Task`: the image that each is compared with: `reference` of the batch, that of a number, or the next."""
        shown = self.seen(batch)
        if "reference" in batch:
            (found,) = self.features(batch["reference"][:1])
            return [Reference(found, str(wanted))] * len(shown)
        names = batch["id"] if len(batch.get("id", ())) == len(shown) else list(map(str, range(len(shown))))
        return find_references(self.features(shown), names, wanted)

    @property
    def explained(self) -> tuple[nn.Module, Backbone | None]:
        return self, self.exported

    def target_score(self, batch: Batch, targets: Sequence[Reference]) -> Tensor:
        """See `Task`: cosine similarity of the features with those of another image."""
        others = torch.stack([one.features for one in targets])
        return cosine_similarity(self.features(self.seen(batch)).float(), others.float())

    def predict_step(self, batch: Batch, index: int) -> Prediction:
        return {"features": self.features(batch["image"])}

    def eval_step(self, batch: Batch, index: int, stage: Stage) -> None:
        results = self.compute_loss(batch, torch.Generator().manual_seed(index))
        results.pop("embeddings", None)
        self.records.add(stage, **results.pop("each", {}))
        self.log_mean(stage, results, len(batch["views"][0] if "views" in batch else batch["image"]))

    def gather(self, tensor: Tensor, gradients: bool = False) -> Tensor:
        """Gather (B, ...) of this device to (B * devices, ...) of all, in order of rank."""
        if self.trainer.world_size == 1:
            return tensor
        return self.all_gather(tensor, sync_grads=gradients).flatten(0, 1)

    def of_this_device(self, images: int, draw: Callable[[int], Iterable[Tensor]]) -> list[Tensor]:
        """Random tensors for so many images: in training, those of `draw` for the images of all devices, cut.

        So two devices draw as one does, and never the same for their images. They follow from seed, epoch and batch;
        `draw` takes torch's generator of the CPU.
        """
        if not self.training:
            return [*draw(images)]
        (key,) = np.random.SeedSequence((self.data.seed, self.current_epoch, self.batch_index)).generate_state(1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(key))
            everything = [*draw(images * self.trainer.world_size)]
        return [drawn[self.global_rank * images :][:images] for drawn in everything]

    def by_size(self, views: list[Tensor]) -> list[Tensor]:
        """Output for each view, global views before local ones; those of one size share a pass, and its batch norm."""
        groups = [list(group) for _, group in groupby(views, lambda view: view.shape)]
        return [output for group in groups for output in self(torch.cat(group)).chunk(len(group))]

    def balanced(self, logits: Tensor, temperature: float, more: Tensor | None = None) -> Tensor:
        """Sinkhorn's probabilities of logits (B, K), balanced over all devices' in training and `more` (N, K)."""
        (everything,) = self.global_batch([logits.detach()])
        rank = self.global_rank if self.training else 0
        everything = everything if more is None else torch.cat([everything, more])
        return sinkhorn(everything, temperature)[rank * len(logits) :][: len(logits)]

    def global_batch(self, embeddings: list[Tensor]) -> list[Tensor]:
        """Embeddings (B, D) of each view from all devices, with gradients, in training; else those of this device.

        The last batches of a validation may differ in size between devices, so that they cannot be gathered.
        """
        return [self.gather(each, gradients=True) for each in embeddings] if self.training else embeddings


def positive(**settings: float) -> None:
    """Check that settings are above 0.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        if value <= 0:
            raise ConfigError(f"model.{name} is {value:g}, but must be above 0")


def check_queue(length: int, keys: int) -> None:
    """Check that a queue of `length` holds the `keys` that each step puts into it.

    Raises:
        ConfigError: it does not.
    """
    if length < keys:
        raise ConfigError(
            f"model.queue_size is {length}, but each step puts {keys} embeddings into the queue (the global batch "
            f"size): choose {keys} or more, or a smaller --data.batch_size"
        )


class ViewPretraining(Pretraining):
    """Base of methods that compare embeddings of two views of each image.

    Args:
        head: makes the projection head; only the backbone is kept afterward.
        embed_dim: size D of the embeddings.
    """

    views = (2, 2)
    head: EmbeddingHead

    def __init__(self, head: HeadFactory[EmbeddingHead], embed_dim: int, **kwargs):
        super().__init__(**kwargs)
        positive(embed_dim=embed_dim)
        self.head = self.attach(EmbeddingHead, head, embed_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) to embeddings (B, D)."""
        return self.answer(self.head, image)


class MomentumEncoderPretraining(Pretraining):
    """Base of methods with a momentum encoder (teacher), the EMA of the student's weights after each optimizer step.

    Args:
        momentum: of the teacher at the start, 0..1; higher follows more slowly.
        final_momentum: at the end; in between it follows a cosine, step by step.
    """

    teacher: Teacher

    def __init__(self, momentum: float = 0.99, final_momentum: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.refuse_averages("a momentum encoder, which is a moving average already (--model.momentum)")
        if not 0 <= momentum <= final_momentum <= 1:
            raise ConfigError(f"model.momentum {momentum} and final_momentum {final_momentum} must rise within 0..1")
        self.momentum, self.final_momentum = momentum, final_momentum

    def on_data(self, data: DataInfo, stage: str) -> None:
        super().on_data(data, stage)
        mine = self.backbone  # which normalizes the views of both
        self.teacher.backbone.set_normalization(mine.mean, mine.std, mine.mean_image)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and (self.weights or self.init) and not self.trainer.ckpt_path:
            self.teacher.reset()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        steps = total_steps(self.trainer)
        self.teacher.update(momentum_at(self.trainer.global_step, steps, self.momentum, self.final_momentum))
