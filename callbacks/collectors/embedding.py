"""Features of images and videos during training: of a batch, or of a whole split without side effects on training."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from modules.contracts import Batch, ConfigError
from modules.training.modes import evaluation_mode


def embed(loader: Iterable[Batch], trainer: Trainer, task: Any) -> tuple[Tensor, Tensor | None]:
    """Features float32 (N, D) and labels int64 (N,), or None, of all samples of `loader`, on the task's device.

    Samples are images; a task of videos also takes videos, whose features are the mean over their views.

    Raises:
        ConfigError: the data gives no input that the task takes.
    """
    features, labels = [], []
    # Starting a DataLoader draws a seed from the global generator: training must not notice.
    with isolate_rng(), evaluation_mode(task), torch.no_grad(), trainer.precision_plugin.forward_context():
        for batch in loader:
            image = task.backbone.normalize(shown(batch, task).to(task.device, non_blocking=True))
            features.append(of_samples(task.features(trainer.precision_plugin.convert_input(image)), batch))
            if "label" in batch:
                labels.append(batch["label"].to(task.device))
    return torch.cat(features), torch.cat(labels) if labels else None


def shown(batch: Batch, task: LightningModule) -> Tensor:
    """Images (B, C, H, W) of a batch, or the clips (B V, C, T, H, W) of its videos for a task of videos.

    Raises:
        ConfigError: the batch has no input that the task takes.
    """
    takes = ("image", "video") if "video" in task.required_keys else ("image",)
    for key in takes:
        if key in batch:
            return batch[key]
    raise ConfigError(
        f"features are of {' or '.join(takes)}, but the data gives {', '.join(batch)}: choose other --data"
    )


def of_samples(features: Tensor, batch: Batch) -> Tensor:
    """Features float32 (B, D) of the samples of a batch: the mean over the views (B V, D) of each video."""
    return features.float().unflatten(0, (len(batch.get("id", features)), -1)).mean(1)


def check_features(task: LightningModule, callback: Callback) -> None:
    """Check that a task has features of its own backbone.

    Raises:
        ConfigError: it has none, or an exported file answers in place of the backbone.
    """
    name = type(callback).__name__
    if not hasattr(task, "features"):
        raise ConfigError(
            f"{name} judges features of images, and {type(task).__name__} has none: leave the callback out"
        )
    if getattr(task, "answered", False):  # its backbone has its initial weights
        raise ConfigError(
            f"{name} evaluates features of the backbone, but an exported file answers in its place: leave the callback "
            "out, or name the run with --ckpt_path in place of --onnx"
        )


def due(trainer: Trainer, every: int) -> bool:
    """True in a validation that counts: of a fit in every `every` epochs and the last, of other commands always."""
    if trainer.sanity_checking:
        return False
    epoch, fitting = trainer.current_epoch + 1, trainer.state.fn == "fit"
    return not fitting or epoch % every == 0 or epoch == trainer.max_epochs
