"""Fixtures of the callback tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import Checkpoint

from tests.helpers.small_task import MemoryLogger


@pytest.fixture(autouse=True)
def seeded() -> None:
    L.seed_everything(0, verbose=False)


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., L.Trainer]:
    """Factory of quiet trainers on one CPU; positional arguments are callbacks."""

    def make(*callbacks: L.Callback, **settings: Any) -> L.Trainer:
        saving = any(isinstance(callback, Checkpoint) for callback in callbacks)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": saving}
        defaults = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1}
        defaults |= {"logger": MemoryLogger(), "callbacks": list(callbacks), "default_root_dir": tmp_path}
        return L.Trainer(**(quiet | defaults | settings))

    return make
