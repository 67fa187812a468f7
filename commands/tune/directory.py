"""Run directory of a search, which several processes may use at once."""

import fcntl
from pathlib import Path

from callbacks.run_directory import LOCKS, RunDirectory
from commands.tune.journal import JOURNAL
from modules.contracts import DataError, writing

OURS = {".lock", ".jobs.lock", ".wandb_id", ".wandb_step", ".mlflow_id", "trials", "confirm", "wandb", "tensorboard"}


class SharedDirectory(RunDirectory):
    """Create the run directory of a search, or join the processes that use it.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path):
        super().__init__(path, lambda: None, resumed=True)

    def claim(self) -> None:
        """Create the folder, and lock it against other commands.

        Raises:
            DataError: it cannot be written, holds something else, or another command works in it.
        """
        there = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        begun = {name for name in there if name.startswith(".")}
        if JOURNAL not in there and there - OURS - begun:
            raise DataError(f"run directory {self.path} is in use: it holds other files; choose another --run_dir")
        self.made = [p for p in (self.path, *self.path.parents) if not p.exists()]
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self.lock = (self.path / ".lock").open("a")
            LOCKS.add(self.lock)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"run directory {self.path} is in use by another command") from error

    def release(self, failed: bool = False) -> None:
        """Unlock the folder; remove it if this process made it and no study was begun."""
        if (self.path / JOURNAL).exists() or not self.made:
            LOCKS.discard(self.lock)
            self.lock.close()
        else:
            for name in OURS & {path.name for path in self.path.iterdir()} - {".lock"}:
                (self.path / name).unlink()
            super().release(failed)
