"""Run directory of a search, which several processes may use at once."""

import fcntl
from pathlib import Path

from callbacks.run_directory import LOCKS, RunDirectory
from commands.tune.journal import JOURNAL
from modules.contracts import DataError

OURS = {".lock", ".jobs.lock", ".wandb_id", ".wandb_step", ".mlflow_id", "trials", "confirm", "wandb", "tensorboard"}


class SharedDirectory(RunDirectory):
    """Create the run directory of a search, or join the processes that use it.

    Args:
        path: the folder.
        fresh: its name comes from the time, so that no process is to be joined there.
    """

    def __init__(self, path: Path, fresh: bool = False):
        super().__init__(path, lambda: None, resumed=True, fresh=fresh)

    def claim(self) -> None:
        """Create the folder, and lock it against other commands.

        Raises:
            DataError: it cannot be written, holds something else, or another command works in it.
        """
        there = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        begun = {name for name in there if name.startswith(".")}
        if JOURNAL not in there and there - OURS - begun:
            raise DataError(f"run directory {self.path} is in use: it holds other files; choose another --run_dir")
        self._lock(fcntl.LOCK_SH)

    def release(self, failed: bool = False) -> None:
        """Unlock the folder; remove it if this process made it and no study was begun."""
        if (self.path / JOURNAL).exists() or not self.made:
            LOCKS.discard(self.lock)
            self.lock.close()
        else:
            for name in OURS & {path.name for path in self.path.iterdir()} - {".lock"}:
                (self.path / name).unlink()
            super().release(failed)
