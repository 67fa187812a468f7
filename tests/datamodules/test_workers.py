"""Worker processes: signals do not end them early, and full shared memory is an error."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import SemLock

import pytest
import torch

from datamodules.workers import Collate, Loader, outlive_signals, worker_error
from modules.contracts import SURPLUS, DataError
from tests.helpers.errors import assert_named, refuses


def stacked(samples: list[int]) -> dict:
    return {"image": torch.tensor(samples), "id": [str(sample) for sample in samples], "boxes": [torch.ones(2, 4)]}


def beside_a_thread(worker: int) -> None:
    """Worker setup with a thread that starts before it, as libraries may start one at a fork."""
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    outlive_signals(worker)


def loader(**settings) -> Loader:
    return Loader(range(64), 4, num_workers=2, collate_fn=Collate(stacked, **settings), worker_init_fn=outlive_signals)


@pytest.mark.integration
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells who sent a signal")
@pytest.mark.parametrize("name", ["TERM", "INT", "USR1"])
def test_a_worker_loads_on_after_a_signal_from_others(name):
    batches = iter(loader())
    next(batches), next(batches)  # one of each worker: both have started
    pids = [str(worker.pid) for worker in batches._workers]
    subprocess.run(["kill", f"-{name}", *pids], check=True)
    assert len(list(batches)) == 14
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.integration
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells who sent a signal")
def test_a_worker_obeys_the_main_process():
    batches = iter(loader())
    next(batches), next(batches)  # one of each worker: both have started
    workers = batches._workers
    for worker in workers:
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == 0
    batches._shutdown_workers()


@pytest.mark.integration
def test_full_shared_memory_is_a_sentence_and_no_endless_wait(monkeypatch):
    def full(tensor: torch.Tensor) -> None:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with refuses(DataError, "shared memory", "--data.workers 0"):
        next(iter(loader()))


@pytest.mark.parametrize(
    ("message", "names"),
    [
        ("Bus error", ["shared memory", "--data.workers 0", "--data.batch_size"]),
        ("Killed", ["memory", "--data.workers", "--data.batch_size"]),
    ],
)
def test_the_end_of_a_worker_is_a_sentence(message, names):
    with refuses(DataError, *names):
        raise worker_error(RuntimeError(f"DataLoader worker (pid 7) is killed by signal: {message}. "))


def test_other_errors_are_none_of_workers():
    assert worker_error(RuntimeError("shapes differ")) is None
    assert worker_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) is None


def test_no_room_for_a_semaphore_is_a_sentence(monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SemLock, "_make_name", staticmethod(full))
    with pytest.raises(OSError) as caught:  # named by its number below
        next(iter(loader()))
    assert caught.value.errno == errno.ENOSPC
    assert_named(str(worker_error(caught.value)), "shared memory", "--data.workers 0")


def test_batches_of_a_device_that_has_none_are_marked():
    assert SURPLUS in Collate(stacked, surplus=True)([1, 2])
    assert SURPLUS not in Collate(stacked)([1, 2])
