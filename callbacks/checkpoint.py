"""What is saved when: `last.ckpt` every so many steps and every epoch, `best.ckpt` by the task's monitor."""

import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint

from modules.contracts import writing

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""Requests to end; SLURM announces the end of a job by SIGUSR1, where it is asked to."""


class Stopped(Exception):
    """Training was told to stop by a signal and has saved.

    Args:
        path: what to go on from.
        signal: the number of the signal.
        option: that takes the path.
    """

    def __init__(self, path: Path, signal: int, option: str = "--ckpt_path"):
        super().__init__(str(path))
        self.signal, self.option = signal, option


class Checkpoint(LightningCheckpoint):
    """Writes `checkpoints/last.ckpt`, `checkpoints/best.ckpt` and, at the end, `backbone.safetensors`.

    Files are written beside their place and renamed, so a kill leaves the old one or the new one, never half of one.
    SIGTERM, SIGUSR1 and the first Ctrl-C save after the current step, or after the validation that is going on, and
    stop. A monitor never logged (no validation data), or nan (nothing to find there), leaves no `best.ckpt`,
    and the last weights are used, which the summary says.

    Args:
        every_n_steps: optimizer steps between two writes of `last.ckpt` within an epoch; 0 writes at epoch ends only.
    """

    def __init__(self, every_n_steps: int = 500):
        super().__init__()
        self.every_n_steps = every_n_steps
        self.best: float | None = None
        self.saved_step = -1
        self.signal = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir) / "checkpoints"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.saved_step = trainer.global_step
        self.signal = 0
        self.handlers = {s: signal.signal(s, self._remember) for s in SIGNALS}

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        stepped = trainer.global_step != self.saved_step
        last_of_epoch = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch  # on_train_epoch_end saves that one
        if not stepped or last_of_epoch or trainer.fit_loop.epoch_loop._should_accumulate():
            return
        number = self._told(trainer)
        if number or (self.every_n_steps and trainer.global_step % self.every_n_steps == 0):
            self._save(trainer, "last.ckpt")
        if number:
            raise Stopped(self.folder / "last.ckpt", number)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        score = trainer.callback_metrics.get(pl_module.monitor)
        if score is not None and not score.isnan():
            score = score.item()
            if self.best is None or (score < self.best if pl_module.mode == "min" else score > self.best):
                self.best = score
                self._save(trainer, "best.ckpt")
        self._save(trainer, "last.ckpt")
        if number := self._told(trainer):
            raise Stopped(self.folder / "last.ckpt", number)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore_handlers()
        if number := self._told(trainer):
            raise Stopped(self.folder / "last.ckpt", number)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]

    def _save(self, trainer: L.Trainer, name: str) -> None:
        path = self.folder / name
        partial = path.with_suffix(".tmp")
        with writing(path):
            try:
                self.folder.mkdir(exist_ok=True)
                trainer.save_checkpoint(partial, weights_only=False)  # False: with optimizer and loops
                if trainer.is_global_zero:
                    partial.replace(path)
            except RuntimeError as error:  # torch's own word for a full disk
                raise OSError(str(error).splitlines()[0]) from error
            finally:
                if trainer.is_global_zero:
                    partial.unlink(missing_ok=True)
        self.saved_step = trainer.global_step

    def _told(self, trainer: L.Trainer) -> int:
        """The signal that any process was told to end by, the same in all of them; 0 for none."""
        if trainer.world_size == 1:
            return self.signal
        number = torch.tensor(self.signal, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(number, reduce_op="max"))

    def _remember(self, number: int, frame: Any) -> None:
        if self.signal and number == signal.SIGINT:
            self.handlers[number](number, frame)  # the second Ctrl-C does not wait
        self.signal = number

    def _restore_handlers(self) -> None:
        for number, handler in getattr(self, "handlers", {}).items():
            signal.signal(number, handler)
