"""Multi-process runs (DDP): supported strategies, and starting, watching and ending the processes."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector

from callbacks.checkpoint import SIGNALS, Stopped
from commands.cluster import PARENT, launched
from modules.contracts import ConfigError

PATIENCE = 15  # seconds that the other processes have to end by themselves
BROKEN = "gloo|nccl|by peer|broken pipe|store->|process group"  # in messages about a lost connection


class Terminated(BaseException):
    """Exception for a signal that ends the command outside of training, where there is nothing to save.

    Args:
        signal: its number.

    Attributes: `saved` is the last checkpoint of the training, null where there is none.
    """

    def __init__(self, signal: int):
        super().__init__(signal)
        self.signal = signal
        self.saved: Path | None = None

    def set_saved(self, path: Path | None) -> None:
        """Set the last checkpoint of the training that the signal ended."""
        self.saved = path


class Lost(Exception):
    """Exception for another process of the run that has ended.

    Args:
        sentence: the reason, if known; empty when that process has printed it itself.
        code: exit code for this process.
    """

    def __init__(self, sentence: str, code: int):
        super().__init__(sentence)
        self.code = code


class NoSignals(_SignalConnector):
    """Signal connector without handlers.

    Lightning's talk to other processes in the middle of anything, and its own SLURM checkpoint does not resume bit for
    bit. `Checkpoint` and `ended_by_signals` handle signals instead.
    """

    def register_signal_handlers(self) -> None:
        """Register none."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `Terminated` on signals that end a command, so that it can clean up; training has its own handlers."""

    def end(number: int, frame: Any) -> NoReturn:
        raise Terminated(number)

    if threading.current_thread() is not threading.main_thread():  # elsewhere Python allows no handlers
        yield
        return
    before = {number: signal.signal(number, end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check_processes(trainer: Trainer) -> None:
    """Refuse multi-process settings that cannot work here, before any process is started.

    Raises:
        ConfigError: names the setting and what to do.
    """
    count, launcher = trainer.num_devices, trainer.strategy.launcher
    if isinstance(launcher, _MultiProcessingLauncher):
        raise ConfigError(
            f"trainer.strategy {launcher._start_method} copies a program that is already running, with locked and open "
            f"files: set --trainer.strategy ddp, which starts the command once for each device"
        )
    if not isinstance(trainer.accelerator, CPUAccelerator):
        return
    cores = max(2, os.cpu_count() or 1)  # two can be tried anywhere
    if count > cores:
        raise ConfigError(
            f"trainer.devices is {count}, but on a CPU each is a process and this machine has {os.cpu_count()} cores: "
            f"set --trainer.devices {cores} or less"
        )
    if trainer.world_size > 1 and trainer._accelerator_connector._layer_sync:
        raise ConfigError(
            "trainer.sync_batchnorm works on GPUs only: leave it out on a CPU, or choose a network without batch norm"
        )


def prepare(trainer: Trainer) -> None:
    """Replace Lightning's launcher and signal handling by ours."""
    trainer._signal_connector = NoSignals(trainer)
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        trainer.strategy._launcher = Launcher(launcher)


class Launcher(_SubprocessScriptLauncher):
    """DDP launcher: starts the command once more for each further device of this machine, and ends together with these.

    When one of them ends badly, so do the others within seconds, with its exit code: 128 + n for signal n, else its
    own. Lightning's launcher kills everything in silence, and leaves children alone when their parent is killed.

    Args:
        of: the launcher to replace.
    """

    def __init__(self, of: _SubprocessScriptLauncher):
        super().__init__(of.cluster_environment, of.num_processes, of.num_nodes)
        self.before: dict[str, str] | None = None  # environment

    def launch(self, function: Callable, *args: Any, trainer: Trainer | None = None, **kwargs: Any) -> Any:
        if launched():
            _thread(_follow, os.getppid())
        elif not self.cluster_environment.creates_processes_externally:
            self.before = dict(os.environ)
            os.environ[PARENT] = str(os.getpid())
            self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
            self._call_children_scripts()
            _thread(self._watch)
        _set_num_threads_if_needed(self.num_processes)
        return function(*args, **kwargs)

    def lost(self) -> Lost | None:
        """The first process that has ended badly, if any."""
        for rank, process in enumerate(self.procs, 1):
            code = process.poll()
            if code is not None and code < 0:
                name = signal.Signals(-code).name
                why = ", as when memory is full" if name == "SIGKILL" else ""
                return Lost(f"the process of device {rank} (pid {process.pid}) was ended by {name}{why}", 128 - code)
            if code:
                return Lost("", code)
        return None

    def end(self, wait: float = 0.0) -> None:
        """End the processes that this one started, after `wait` seconds in which they may end themselves."""
        until = time.monotonic() + wait
        while time.monotonic() < until and any(process.poll() is None for process in self.procs):
            time.sleep(0.05)
        for process in self.procs:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.procs = []
        if self.before is not None:
            for name in os.environ.keys() - self.before.keys():
                del os.environ[name]
            os.environ.update(self.before)

    def _watch(self) -> None:
        """End this process when it waits for a process that is no more, as with NCCL."""
        while self.procs:
            if lost := self.lost():
                time.sleep(PATIENCE)
                if self.procs:
                    if str(lost):
                        os.write(2, f"error: {lost}\n".encode())
                    for process in self.procs:
                        process.kill()
                    os._exit(lost.code)
            time.sleep(0.5)


def explain(trainer: Trainer, error: BaseException, folder: str) -> Lost | None:
    """The loss of another process, when it is the reason of this one's error; the others are ended in any case."""
    launcher = trainer.strategy.launcher
    ours = launcher if isinstance(launcher, Launcher) else None
    if trainer.world_size == 1 or not isinstance(error, RuntimeError) or not _connection(error):
        if ours and ours.procs:
            ours.end(60 if isinstance(error, Stopped) else 0)  # they have saved together
        return None
    if ours and ours.procs:
        until, lost = time.monotonic() + PATIENCE, None
        while lost is None and time.monotonic() < until:
            time.sleep(0.1)
            lost = ours.lost()
        ours.end()
    elif launched():
        return Lost("", 1)  # the first process knows more
    else:
        lost = Lost("another process of this run has ended", 1)
    if lost is not None and str(lost):
        return Lost(f"{lost}; what was saved is in {folder}: go on with --ckpt_path {folder}", lost.code)
    return lost


def finish(trainer: Trainer) -> None:
    """Destroy the process group and wait for the other processes, after all is done."""
    if trainer.world_size > 1:
        torch.distributed.destroy_process_group()
    if isinstance(trainer.strategy.launcher, Launcher):
        trainer.strategy.launcher.end(PATIENCE)


def _connection(error: BaseException) -> bool:
    return isinstance(error, torch.distributed.DistError) or bool(re.search(BROKEN, str(error), re.IGNORECASE))


def _follow(parent: int) -> None:
    """End this process after its parent, which cannot tell it when it is killed."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(PATIENCE)
    os._exit(1)


def _thread(work: Callable, *args: Any) -> None:
    threading.Thread(target=work, args=args, daemon=True).start()
