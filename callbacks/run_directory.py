"""Run directory: locked before anything is written, linked as `latest`."""

import contextlib
import fcntl
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import lightning as L

from callbacks.loggers.build import LOGGED
from callbacks.loggers.metrics_csv import MetricsCSV
from modules.contracts import DataError, writing

BEGINNING = {".lock", "config.yaml", "figures", "checkpoints", "predictions", "skipped.txt", "dropped.txt", *LOGGED}
BEGINNING |= {".lr_find_*.ckpt", ".scale_batch_size_*.ckpt"}  # of Lightning's LearningRateFinder and BatchSizeFinder
"""Files that a run may leave before its first checkpoint; shell patterns."""
LOCKS: set[Any] = set()
"""Lock files of this process; a forked child, which may outlive it, closes them."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: [lock.close() for lock in LOCKS])


class RunDirectory(L.Callback):
    """Create and lock the run directory `runs/<name>/<date_time>/` for one process at a time.

    Args:
        path: the folder.
        begin: called once when settings, data and weights are valid, before the first step; writes the settings.
        resumed: the folder may hold the run that is resumed.
        restarted: the folder may hold the files of a run killed before its first checkpoint; they are deleted.
        fresh: the name comes from the time (`new_path`); where another process was quicker, the next one is taken.
    """

    def __init__(
        self,
        path: Path,
        begin: Callable[[], None],
        resumed: bool = False,
        restarted: bool = False,
        fresh: bool = False,
    ):
        self.path, self.resumed, self.restarted, self.begin = path, resumed, restarted, begin
        self.fresh = fresh
        self.lock: Any = None
        self.known: dict[str, Any] | None = None  # where metrics.csv was at the checkpoint that is resumed
        self.used = False  # a batch is through, so task and data go together
        self.made: list[Path] = []
        self.before: dict[Path, bytes] | None = None  # settings and metrics of the run that is resumed

    def claim(self) -> None:
        """Create the folder and lock it.

        Raises:
            DataError: it cannot be written, holds another run, or another process is training in it.
        """
        there = {path.name for path in self.path.iterdir()} if self.path.is_dir() and not self.fresh else set()
        if there and not self.resumed and not (self.restarted and all(map(_of_a_beginning, there))):
            run = {"checkpoints", "config.yaml"} & there
            resume = f", or resume that run with --ckpt_path {shlex.quote(str(self.path))}" if run else ""
            what = "another run" if run else "other files"
            raise DataError(f"run directory {self.path} is in use: it holds {what}; choose another --run_dir{resume}")
        self._lock(fcntl.LOCK_EX)
        for name in there - {".lock"} if self.restarted else ():
            _delete(self.path / name)

    def _lock(self, kind: int) -> None:
        """Create the folder, and lock it: LOCK_EX for this process alone, LOCK_SH for those that share it."""
        self._make()
        try:
            fcntl.flock(self.lock, kind | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"run directory {self.path} is in use by another process") from error

    def _make(self) -> None:
        """Create the folder and open its lock; a fresh folder is one that no other process has made."""
        self.made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir(exist_ok=not self.fresh)
            except FileExistsError:
                if not self.fresh:
                    raise
                self.path = _free(self.path)
                self._make()
            else:
                self.lock = (self.path / ".lock").open("a")
                LOCKS.add(self.lock)

    def release(self, failed: bool = False) -> None:
        """Unlock the folder; leave it as it was when the run `failed` before the end of its first batch."""
        if self.lock:
            if failed and not self.used:
                with contextlib.suppress(OSError):
                    self._restore() if self.resumed else self._clear()
            LOCKS.discard(self.lock)
            self.lock.close()
            (self.path / ".lock").unlink(missing_ok=True)
            self.lock = None
            os.environ.pop("GRAFT_RUN_DIR", None)
            for folder in self.made:
                with contextlib.suppress(OSError):  # not empty: something was written
                    folder.rmdir()

    def _clear(self) -> None:
        """Delete what a new run has written: its folder was empty, if it was there."""
        for path in self.path.iterdir() if self.path.is_dir() else ():
            if self.path in self.made or _of_a_beginning(path.name):
                with contextlib.suppress(OSError):
                    _delete(path)

    def _restore(self) -> None:
        """Give the run that should be resumed its settings and metrics back."""
        if self.before is None:
            return
        for path in _records(self.path):
            if path not in self.before:
                path.unlink()
        for path, content in self.before.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if trainer.world_size > 1:  # started apart, the others made up a time of their own
            self.path = Path(trainer.strategy.broadcast(trainer.default_root_dir))
            trainer._default_root_dir = str(self.path)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.resumed and self.lock and self.before is None:
            self.before = {path: path.read_bytes() for path in _records(self.path)}
        begin, self.begin = self.begin, lambda: None
        begin()
        self._rewind(trainer)

    on_validation_start = on_test_start = on_predict_start = on_train_start

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.sanity_checking:
            return  # the first step may still fail
        training = trainer.state.fn == "fit" and not trainer.fast_dev_run
        if not self.used and training and trainer.is_global_zero:
            self.point_latest()
        self.used = True

    on_validation_batch_end = on_test_batch_end = on_predict_batch_end = on_train_batch_end

    def point_latest(self) -> None:
        """Link `latest` beside the folder to it."""
        if self.path.absolute().parent.parent.name == "runs":  # not beside a folder of the user's
            link = self.path.parent / f".latest{os.getpid()}"
            with writing(link):
                link.symlink_to(self.path.name)
                link.replace(self.path.parent / "latest")

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the position in metrics.csv, and values of the step or epoch that are logged after the checkpoint."""
        connector = trainer._logger_connector
        within = connector._first_loop_iter is not None  # an epoch
        late = connector.should_update_logs if within else trainer.training
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.save()
                checkpoint["metrics"] = {
                    "rows": logger.rows,
                    "late": {k: v.item() for k, v in connector.metrics["log"].items()} if late else {},
                    "epoch": trainer.current_epoch,
                    "step": trainer.fit_loop.epoch_loop._batches_that_stepped - (not within),  # as Lightning logs
                }

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        known = checkpoint.get("metrics") if self.resumed else None
        self.known = {name: known[name] for name in ("rows", "late", "epoch", "step")} if known else None

    def _rewind(self, trainer: L.Trainer) -> None:
        """Rewind metrics.csv to the checkpoint."""
        known, self.known = self.known, None
        for logger in trainer.loggers if known else ():
            if isinstance(logger, MetricsCSV):
                logger.rewind(known["rows"])
                late = dict(known["late"])
                if late:
                    step = late.pop("step", known["step"])  # a task may count steps itself
                    logger.log_metrics(late | {"epoch": known["epoch"]}, step)


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _records(folder: Path) -> list[Path]:
    """Settings and metrics of a run."""
    return [*folder.glob("config*.yaml"), *folder.glob("metrics.csv")]


def _of_a_beginning(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in BEGINNING)


def typed_path(run_dir: str | None, name: str) -> Path:
    """The folder that was typed, or that a link such as `latest` leads to now, else a new one of that name."""
    folder = Path(run_dir) if run_dir else new_path(name)
    return folder.parent / folder.readlink() if folder.is_symlink() else folder


def new_path(name: str, suffix: str = "") -> Path:
    """A fresh folder name below `runs/`, from the time."""
    return _free(Path("runs") / name / f"{datetime.now():%Y-%m-%d_%H-%M-%S}{suffix}")


def _free(path: Path) -> Path:
    """The path if nothing is there yet, else with a number."""
    count = 1
    while path.exists():
        count += 1
        path = path.with_name(f"{path.name.split('+')[0]}+{count}")
    return path


@contextlib.contextmanager
def claimed(directory: RunDirectory) -> Iterator[Path]:
    """Lock a run directory while a command works in it; where that fails the folder is left as it was.

    Yields:
        The folder.

    Raises:
        DataError: see `RunDirectory.claim`.
    """
    directory.claim()
    failed = True
    try:
        yield directory.path
        failed = False
    finally:
        directory.release(failed)
