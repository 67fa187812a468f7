"""Worker processes of the loaders, and batches that only keep a device company."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modules.contracts import SURPLUS, Batch


@dataclass(frozen=True)
class Surplus:
    """Marks the batches of a device that has none of its own, so that nothing counts them.

    Args:
        collate: samples to a batch.
    """

    collate: Callable[[list[Any]], Batch]

    def __call__(self, samples: list[Any]) -> Batch:
        return self.collate(samples) | {SURPLUS: True}


def outlive_signals(worker: int) -> None:
    """Lets a worker process load on when its whole process group is told to end, as SLURM, systemd and `timeout` do.

    The main process decides: it saves after the current step, for which it needs the batch, and then ends the worker.
    SIGTERM therefore counts only when the main process sent it.
    """
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):  # Windows knows the first only
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS and Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # threads inherit it
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
