"""Training of a task on the same batch again and again."""

import lightning as L
from torch.utils.data import DataLoader


def train(task: L.LightningModule, batch: dict, steps: int, **options: str) -> L.Trainer:
    """Train `steps` steps on `batch`, on the CPU and without writing anything; `options` are the trainer's."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", **quiet, **options)
    trainer.fit(task, DataLoader([batch] * steps, batch_size=None, collate_fn=dict))
    return trainer
