"""Trainers that write nothing, and training of a task on the same batch again and again."""

from typing import Any

import lightning as L
from torch.utils.data import DataLoader

OFF = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")


def quiet(**settings: Any) -> L.Trainer:
    """A trainer on one CPU that writes and shows nothing; `settings` are the trainer's."""
    return L.Trainer(**{"accelerator": "cpu", "devices": 1, **dict.fromkeys(OFF, False)} | settings)


def train(task: L.LightningModule, batch: dict, steps: int, **settings: Any) -> L.Trainer:
    """Train `steps` steps on `batch`; `settings` are the trainer's."""
    trainer = quiet(max_steps=steps, **settings)
    trainer.fit(task, DataLoader([batch] * steps, batch_size=None, collate_fn=dict))
    return trainer
