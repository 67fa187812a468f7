"""Features of a whole split, computed during training without side effects on it."""

from collections.abc import Iterable

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from modules.contracts import Batch, ConfigError
from modules.training.modes import evaluation_mode


def embed(loader: Iterable[Batch], trainer: Trainer, task: LightningModule) -> tuple[Tensor, Tensor | None]:
    """Features float32 (N, D) and labels int64 (N,), or None, of all samples of `loader`, on the task's device.

    Samples are images; a task of videos also takes videos, whose features are the mean over their views.

    Raises:
        ConfigError: the data gives no input that the task takes.
    """
    features, labels = [], []
    takes = ("image", "video") if "video" in task.required_keys else ("image",)
    # Starting a DataLoader draws a seed from the global generator: training must not notice.
    with isolate_rng(), evaluation_mode(task), torch.no_grad(), trainer.precision_plugin.forward_context():
        for batch in loader:
            shown = next((batch[key] for key in takes if key in batch), None)
            if shown is None:
                raise ConfigError(
                    f"features are of {' or '.join(takes)}, but the data gives {', '.join(batch)}: choose other --data"
                )
            image = task.backbone.normalize(shown.to(task.device, non_blocking=True))
            found = task.features(trainer.precision_plugin.convert_input(image)).float()
            features.append(found.unflatten(0, (len(batch.get("id", found)), -1)).mean(1))
            if "label" in batch:
                labels.append(batch["label"].to(task.device))
    return torch.cat(features), torch.cat(labels) if labels else None
