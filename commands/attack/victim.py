"""Samples under attack: their pixels and the network from these to the logits of a trained task."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from callbacks.collectors.chosen import evenly
from commands.evaluate import Trainer
from commands.evaluate.features import samples
from datamodules.base import Split
from modules.contracts import IGNORE, Batch, ConfigError, DataError, with_channels
from modules.insight.attacks import Network
from tasks import Task

Answer = Literal["label", "mask"]
"""Kind of a task's answer: a class for the whole sample, or for each pixel."""


def answer_of(task: Task) -> Answer:
    """Kind of the answer that an attack changes.

    Raises:
        ConfigError: the task gives no classes by logits.
    """
    keys = tuple(task.required_keys)
    if task.classes and not task.generative and keys in (("image", "label"), ("video", "label"), ("image", "mask")):
        return "mask" if keys[1] == "mask" else "label"
    raise ConfigError(
        f"attack changes the class of an image, a clip or a pixel, but {type(task).__name__} answers with something "
        f"else: take a run of classification, video or semantic_segmentation"
    )


@dataclass
class Victim:
    """Samples of one batch, on the task's device.

    Args:
        task: trained, in evaluation mode.
        trainer: its precision.
        ids: of B samples.
        pixels: images (B, 3, H, W) or the V views of videos (B, V, 3, T, H, W), in 0..1.
        label: int64 (B,), of maps (B, H, W) with `IGNORE`; null for data without.
        inside: 1 on the image and 0 on the padding around it (B, 1, H, W), which no attack may use; null without.
    """

    task: Any
    trainer: Trainer
    ids: list[str]
    pixels: Tensor
    label: Tensor | None
    inside: Tensor | None = None

    def network(self, rows: Tensor) -> Network:
        """Network of chosen samples, int64 (R,): changed pixels (R, ...) to logits (R, C, ...)."""
        whole, inside = self.pixels[rows], None if self.inside is None else self.inside[rows]

        def answer(pixels: Tensor) -> Tensor:
            with self.trainer.precision_plugin.forward_context():
                return self._logits(pixels if inside is None else whole + inside * (pixels - whole))

        return answer

    def _logits(self, pixels: Tensor) -> Tensor:
        backbone, views = self.task.backbone, pixels.shape[1] if pixels.ndim == 6 else 0
        pixels = with_channels(pixels.flatten(0, 1) if views else pixels, backbone.mean.numel())
        logits = self.task(backbone.standardize(pixels).to(self.task.dtype))
        if views < 2:
            return logits
        scores = self.task.head.probabilities(logits).unflatten(0, (-1, views)).mean(1)
        return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()


def victims(trainer: Trainer, task: Task, split: Split, count: int) -> Iterator[Victim]:
    """Up to `count` samples of a split, evenly spread, in batches.

    Raises:
        DataError: a video or image that cannot be read.
        ConfigError: the images are too small for the network.
    """
    data: Any = trainer.datamodule
    for batch in samples(data, split, "evaluate", evenly(len(data.dataset(split, "evaluate")), count)):
        if batch["id"]:  # all may have been left out by data.on_error skip
            yield _victim(trainer, task, data.transfer_batch_to_device(batch, task.device, 0))


def _victim(trainer: Trainer, task: Any, batch: Batch) -> Victim:
    key = task.required_keys[0]
    shown, ids = batch.get(key), list(batch["id"])
    if not isinstance(shown, Tensor):
        raise ConfigError(
            f"attack needs {key}s of one size, but {trainer.datamodule.__class__.__name__} gives others: set "
            f"--data.image_size, or give other --data"
        )
    task.normalized(shown)  # refuses sizes and channels
    pixels = shown.float() / 255 if shown.dtype == torch.uint8 else shown.float()
    if key == "video":
        pixels = pixels.unflatten(0, (len(ids), -1))
    inside = None
    if task.required_keys[1] == "mask" and "inside" in batch:
        rows, columns = (torch.arange(side, device=pixels.device) for side in pixels.shape[-2:])
        height, width = batch["inside"].to(pixels.device).view(-1, 2, 1, 1).unbind(1)
        inside = ((rows[:, None] < height) & (columns < width)).float()[:, None]
    label = batch.get(task.required_keys[1])
    if label is not None and not label.numel():
        raise DataError("the samples have no labels")
    return Victim(task, trainer, ids, pixels, label, inside)


def share(answer: Tensor, wanted: Tensor, counted: Tensor | None = None) -> Tensor:
    """Share of the places of each sample (B,) whose answer is the one that is wanted.

    Args:
        answer: int64 (B,) or (B, H, W).
        wanted: the same, or of one class for each sample.
        counted: bool, the places that count; null is all but those of `IGNORE` in a map that is wanted.
    """
    if answer.ndim == 1:
        return answer.eq(wanted).float()
    wanted = wanted if wanted.ndim == answer.ndim else wanted[:, None, None]
    counted = (wanted != IGNORE) if counted is None else counted
    right = (answer.eq(wanted) & counted).flatten(1).sum(1)
    return right / counted.flatten(1).sum(1).clamp_min(1)
