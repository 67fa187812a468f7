"""A task ready for a training step, initialized or trained, with a batch of its training data."""

import json
from pathlib import Path
from typing import Any

from commands.arguments import run_name
from commands.evaluate import idle_trainer
from commands.evaluate.trainer import load_weights
from commands.predictor import parts_of
from commands.setting_checks import check_float32
from commands.trained import read_trained, typed_texts
from modules.contracts import Batch
from modules.insight.layers import refuse_compiled
from modules.training.trusted import check_trusted


class Parts:
    """Task and training batch of a YAML or a checkpoint, on one device in float32.

    Args:
        ckpt_path: a .ckpt file, a run directory or `latest`; null for the initial weights of the configuration.
        typed: settings of `fit`.

    Attributes: `task` has its initial weights; `start` says in words which these are; `checkpoint` is the file.
    """

    def __init__(self, ckpt_path: str | None, typed: list[str]):
        check_float32("inspect", typed)
        words, self.checkpoint, self.start = ["--data.workers", "0", *typed], None, "initialization"
        self.name = run_name(["fit", *typed])
        if ckpt_path:
            typed = ["validate", "--ckpt_path", ckpt_path, *typed]
            trained = read_trained(typed, self.name)
            check_trusted(trained.settings, trained.path, typed_texts(typed))
            self.checkpoint, self.name = trained.path, trained.name
            settings = trained.settings
            if weights := settings["model"].get("init_args", {}).pop("weights", None):
                self.start = f"random initialization (its training began with {Path(weights).name})"
            words = ["--config", json.dumps({key: value for key, value in settings.items() if value}), *words]
        parts: Any = parts_of(["fit", *words])
        self.task, self.data = parts.model, parts.datamodule
        refuse_compiled(self.task, "inspect")
        if self.checkpoint is None and getattr(self.task, "weights", None):
            self.start = f"{Path(self.task.weights).name} weights"
        # with a checkpoint the task does not load the weights that its training began with
        given = parts.settings.trainer.accelerator
        trainer = idle_trainer(given, "32-true", self.checkpoint, log_every_n_steps=0)
        self.seed = parts.settings.seed_everything
        trainer.ready_to_train(self.task, self.data)

    def load(self) -> None:
        """Load the trained weights, if there are any."""
        if self.checkpoint:
            load_weights(self.task, self.checkpoint)

    def batch(self) -> Batch:
        """The first batch of the first epoch, as the training step takes it; each time anew, as steps may change it."""
        batch = next(iter(self.data.train_dataloader()))
        batch = self.data.transfer_batch_to_device(batch, self.task.device, 0)
        return self.task.on_after_batch_transfer(batch, 0)


def samples_of(batch: Batch) -> int:
    """Number of samples in a batch."""
    return next(len(batch[key]) for key in ("id", "image", "video", "source") if key in batch)
