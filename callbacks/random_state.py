"""Random number generator states in the checkpoint."""

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import distributed

from modules.contracts import DataError


class RandomState(L.Callback):
    """Save and restore the RNG states (torch, CUDA, numpy, random) of every process in checkpoints.

    A killed run then resumes with the same dropout, MixUp and other draws as an uninterrupted one.
    """

    loaded: list[dict[str, Any]] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        state = read_state()
        states = [state]
        if trainer.world_size > 1:
            states = [None] * trainer.world_size
            distributed.all_gather_object(states, state)
        checkpoint["random_state"] = states

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self.loaded = checkpoint.get("random_state")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if isinstance(self.loaded, list) and trainer.global_rank < len(self.loaded):
            try:
                write_state(self.loaded[trainer.global_rank])
            except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
                raise DataError(
                    f"{trainer.ckpt_path} has a random_state that is no state of generators: take another checkpoint"
                ) from error
            self.loaded = None


def read_state() -> dict[str, Any]:
    """The state of torch (CPU and this process's GPU), numpy and random, as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "python": random.getstate(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def write_state(state: dict[str, Any]) -> None:
    """Restore the states from `read_state`."""
    torch.set_rng_state(state["torch"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
