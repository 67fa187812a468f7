"""Data loader workers: shared-memory batches, signals (SIGTERM, SIGINT), and errors when a worker ends."""

import errno
import os
import shutil
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from modules.contracts import SURPLUS, Batch, DataError

SENT = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
"""Signals that a whole process group gets; Windows knows the first two."""
WAITS = hasattr(signal, "sigwaitinfo")  # not on macOS and Windows
SHARED = "/dev/shm"
REMEDY = "set --data.workers 0, lower --data.workers or --data.batch_size, or give it more (docker run --shm-size 2g)"


@dataclass(frozen=True)
class Collate:
    """Collate function for worker processes: moves the batch to shared memory.

    Args:
        collate: samples to a batch.
        surplus: mark the batches, of a device that has none of its own, so that nothing counts them.
    """

    collate: Callable[[list[Any]], Batch]
    surplus: bool = False

    def __call__(self, samples: list[Any]) -> Batch:
        batch = self.collate(samples)
        if get_worker_info() is not None:
            _share(batch)
        return batch | {SURPLUS: True} if self.surplus else batch


class Loader(DataLoader):
    """A data loader whose workers block signals from their first instruction, in all their threads.

    A library may start a thread before `outlive_signals` is called, and the signal would end the worker by it.
    """

    def _get_iterator(self) -> Any:
        if not WAITS:
            return super()._get_iterator()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SENT)  # threads and processes inherit it
        try:
            return super()._get_iterator()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def outlive_signals(worker: int) -> None:
    """Keep a worker process loading when its whole process group is told to end, as SLURM, systemd and `timeout` do.

    The main process decides: it saves after the current step, for which it needs the batch, and then ends the worker.
    SIGTERM therefore counts only when the main process sent it.
    """
    for sent in SENT[1:]:
        signal.signal(sent, signal.SIG_IGN)
    if WAITS:  # blocked since `Loader` started this process
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def worker_error(error: BaseException) -> DataError | None:
    """A readable error for one of the main process that was caused by the end of a worker; null for other errors."""
    message = str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and _in_multiprocessing(error):
        return _full()
    if not isinstance(error, RuntimeError) or "DataLoader worker" not in message:
        return None
    if "Bus error" in message:
        return _full()
    if "signal: Killed" in message:
        return DataError(
            "a process that loads data was killed, most often because memory is full: lower --data.workers or "
            "--data.batch_size"
        )
    return None


def _share(value: Any) -> None:
    """Move tensors to shared memory here, in the worker's main thread.

    An error in the thread that would do so on their way to the main process is lost: with full shared memory the main
    process would wait forever.
    """
    if isinstance(value, Tensor):
        try:
            value.share_memory_()
        except RuntimeError as error:
            raise _full() if "shared memory" in str(error) else error from error
    elif isinstance(value, dict):
        for part in value.values():
            _share(part)
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], str):
        for part in value:
            _share(part)


def _full() -> DataError:
    size = f" ({shutil.disk_usage(SHARED).total / 1e6:,.0f} MB)" if Path(SHARED).is_dir() else ""
    return DataError(f"shared memory, {SHARED}{size}, is full, by which loading processes hand over batches: {REMEDY}")


def _in_multiprocessing(error: BaseException) -> bool:
    frames = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name.startswith("multiprocessing.") for name in frames)


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
