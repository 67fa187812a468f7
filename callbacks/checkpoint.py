"""Checkpointing: `last.ckpt` every N steps and at each epoch end, `best.ckpt` by the task's monitor."""

import shlex
import shutil
import signal
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint as LightningCheckpoint
from lightning.pytorch.callbacks import StochasticWeightAveraging, early_stopping
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from callbacks.results.selection import Selection, Validation
from callbacks.terminal import print_line
from modules.contracts import check_range, writing
from modules.training.transfer import read_checkpoint

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""Requests to end; SLURM announces the end of a job by SIGUSR1, where it is asked to."""

AVERAGED = "averaged.ckpt"


class Stopped(Exception):
    """Training stopped by a signal, after saving a checkpoint.

    Args:
        path: checkpoint to resume from.
        signal: signal number.
        option: command-line option that takes the path.
    """

    def __init__(self, path: Path, signal: int, option: str = "--ckpt_path"):
        super().__init__(str(path))
        self.signal, self.option = signal, option


class Checkpoint(LightningCheckpoint):
    """Save `checkpoints/last.ckpt` and `checkpoints/best.ckpt`, and stop cleanly on a signal.

    Writes are atomic: a file is written under a temporary name and renamed, so a kill leaves the old or the new one,
    never a partial one. `best.ckpt` holds exactly the weights of the best validation by the task's monitor, also in the
    middle of an epoch; while the monitor is constant, the lowest loss decides. StochasticWeightAveraging leaves its
    weights in `averaged.ckpt`.

    SIGTERM, SIGUSR1 and the first Ctrl-C save after the current step, or after the current validation, and stop.
    A run that is resumed in another directory brings its `best.ckpt` along.

    Without a logged monitor (no validation data), or with a nan one, there is no `best.ckpt` and the last weights are
    used; the summary says so.

    Args:
        every_n_steps: optimizer steps between two writes of `last.ckpt` within an epoch; 0 writes at epoch ends only.
    """

    def __init__(self, every_n_steps: int = 500):
        super().__init__()
        check_range("checkpoint.every_n_steps", every_n_steps)
        self.every_n_steps = every_n_steps
        self.selection = Selection()
        self.best, self.last = Validation(), Validation()  # of the best weights, and of the newest validated ones
        self._due = False  # best.ckpt, at the end of the epoch
        self._before: dict[str, Tensor] = {}  # metrics before a validation
        self.saved_step = -1
        self.signal = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.folder = Path(trainer.default_root_dir) / "checkpoints"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.saved_step = trainer.global_step
        self.signal = 0
        if trainer.is_global_zero:  # of a run that goes on now
            (self.folder / AVERAGED).unlink(missing_ok=True)
        if self.best.step >= 0 and not trainer.strategy.broadcast(trainer.is_global_zero and self._carried(trainer)):
            rank_zero_warn(
                f"the weights of the best validation so far ({self.best.when}) are not beside {trainer.ckpt_path}: "
                "the best ones are chosen among the validations from here on"
            )
            self.best, self.selection = Validation(), Selection()
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

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._before = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        within = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        self.last = Validation(trainer.global_step, trainer.current_epoch, within, self._logged(trainer))
        self._before = dict(trainer.callback_metrics)
        score, loss = (self.last.metrics.get(name) for name in (pl_module.monitor, pl_module.fallback))
        if score is None or score != score or not self.selection.takes(score, pl_module.mode, loss):
            return
        self.best = self.last
        if within:
            self._save(trainer, "best.ckpt")
        else:  # with the same weights, when the epoch is counted as over
            self._due = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._due:
            self._save(trainer, "best.ckpt")
            self._due = False
        self._save(trainer, "last.ckpt")
        if number := self._told(trainer):
            raise Stopped(self.folder / "last.ckpt", number)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore_handlers()
        late = self._logged(trainer)  # by callbacks that evaluate the last weights after training
        if self.last.step == trainer.global_step:
            self.last.add(late)
        elif late:
            self.last = Validation(trainer.global_step, trainer.current_epoch - 1, metrics=late)
        for callback in trainer.callbacks:
            if isinstance(callback, StochasticWeightAveraging) and callback.n_averaged:
                if trainer.current_epoch - 1 >= callback.swa_end:  # it has put its weights into the task
                    progress = trainer.fit_loop.epoch_progress.current
                    progress.completed -= 1  # counted in files from 0, as in those saved before the epoch ends
                    self._save(trainer, AVERAGED, weights_only=True)
                    progress.completed += 1
                else:
                    rank_zero_warn(
                        "StochasticWeightAveraging is done at the end of the last epoch, which training did not reach: "
                        "nothing was averaged"
                    )
        if number := self._told(trainer):
            raise Stopped(self.folder / "last.ckpt", number)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._restore_handlers()
        raised = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(exception.__traceback__)]
        if raised and raised[-1] == early_stopping.__name__:  # on a monitor that is not logged: the weights are good
            self._save(trainer, "last.ckpt")
            if trainer.is_global_zero:
                print_line(f"saved; once mended, go on with --ckpt_path {shlex.quote(str(self.folder.parent))}")

    def validations(self, trainer: L.Trainer) -> dict[str, Validation]:
        """Validations of the last and of the best weights, by a description of the weights."""
        best, last, found = self.best, self.last, {}
        if last.step >= 0:
            found[last.step] = f"last, {last.when}" if last.step == trainer.global_step else last.when
        if best.step >= 0:
            found[best.step] = f"best{' and last' * (best.step == trainer.global_step)}, {best.when}"
        return {found[one.step]: one for one in (last, best) if one.step >= 0}

    def report_lines(self, trainer: L.Trainer) -> list[str]:
        """Sentence about a monitor that selected nothing, or a training without validation, for the final report."""
        chosen, task = self.selection, trainer.lightning_module
        if self.saved_step < 0:  # nothing was trained
            return []
        validated = chosen.count or self.last.step >= 0 or task.pretraining
        if not validated and trainer.limit_val_batches and trainer.datamodule.has("val"):
            return [
                f"training ended at step {trainer.global_step:,}, before its first validation, so that no best weights "
                "were chosen: the last ones are the result; train longer, or validate earlier with "
                "--trainer.val_check_interval"
            ]
        if not chosen.constant:
            return []
        how = "the last validation was chosen" if chosen.loss is None else f"the lowest {task.fallback} chose instead"
        return [
            f"{task.monitor} was {chosen.best:g} in all {chosen.count} validations, so that it cannot choose the best "
            f"checkpoint: {how}"
        ]

    def state_dict(self) -> dict[str, Any]:
        return self.selection.state_dict() | {"validation": asdict(self.best)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = Validation(**state.get("validation", {}))
        self.selection = Selection.of({name: value for name, value in state.items() if name != "validation"})

    def _carried(self, trainer: L.Trainer) -> bool:
        """Copy the weights of the best validation of the run that is resumed; returns False if they are gone."""
        resumed, path = Path(trainer.ckpt_path), self.folder / "best.ckpt"
        for source in (path, resumed.with_name("best.ckpt"), resumed):
            if source.is_file() and read_checkpoint(source, mapped=True).get("global_step") == self.best.step:
                if source.resolve() != path.resolve():
                    partial = path.with_suffix(".tmp")
                    with writing(path):
                        self.folder.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(source, partial)
                        partial.replace(path)
                return True
        return False

    def _logged(self, trainer: L.Trainer) -> dict[str, float]:
        """Validation metrics that are new since `_before` was taken."""
        found = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        return {name: value.item() for name, value in found.items() if self._before.get(name) is not value}

    def _save(self, trainer: L.Trainer, name: str, weights_only: bool = False) -> None:
        path = self.folder / name
        partial = path.with_suffix(".tmp")
        with writing(path):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                trainer.save_checkpoint(partial, weights_only)  # else with optimizer and loops
                if trainer.is_global_zero:
                    partial.replace(path)
            except RuntimeError as error:  # torch's own word for a full disk
                raise OSError(str(error).splitlines()[0]) from error
            finally:
                if trainer.is_global_zero:
                    partial.unlink(missing_ok=True)
        self.saved_step = trainer.global_step

    def _told(self, trainer: L.Trainer) -> int:
        """Number of the signal that any process received, the same in all of them; 0 for none."""
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
