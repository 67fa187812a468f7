"""Forks of the test process, which has the imports done: alone, or as the devices of one run."""

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_only


def forked(work: Callable[[], int | None], folder: Path, processes: int = 1, one_run: bool = True) -> list[int]:
    """Call `work` in that many forks at once, and print what they say.

    Args:
        work: returns an exit code; null is 0.
        folder: working directory of the forks; their output is `fork_RANK.log` there.
        processes: number of forks.
        one_run: several get the environment variables of torchrun, as devices of one machine.

    Returns:
        An exit code for each; that of a process that was killed is negative.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "TORCHELASTIC_RUN_ID": "none"}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
    children = []
    for rank in map(str, range(processes)):
        variables = shared | {"RANK": rank, "LOCAL_RANK": rank} if processes > 1 and one_run else {}
        children.append(_start(work, folder, folder / f"fork_{rank}.log", variables))
    codes = _ended(children)
    for rank in range(processes):
        print((folder / f"fork_{rank}.log").read_text())
    return codes


def _ended(children: list[int]) -> list[int]:
    """Exit codes of the children; when one has failed, or the time of the test is up, the others are killed."""
    codes: dict[int, int] = {}
    try:
        while len(codes) < len(children) and not any(codes.values()):
            for child in children:
                if child not in codes and (ended := os.waitpid(child, os.WNOHANG))[0]:
                    codes[child] = os.waitstatus_to_exitcode(ended[1])
            time.sleep(0.02)
    finally:
        for child in set(children) - codes.keys():
            os.kill(child, signal.SIGKILL)
            codes[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [codes[child] for child in children]


def _start(work: Callable[[], int | None], folder: Path, log: Path, variables: dict[str, str]) -> int:
    if child := os.fork():
        return child
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(variables)
        rank_zero_only.rank = int(variables.get("RANK", 0))  # which Lightning reads when it is imported
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                code = work() or 0
            except BaseException:
                traceback.print_exc()
    finally:
        os._exit(code)  # nothing of the tests runs on in the fork


def in_group(work: Callable[[int], Any], folder: Path, processes: int = 2) -> list[Any]:
    """Call `work(rank)` in forks that are a gloo group; returns its results, of plain values and tensors, by rank."""

    def each() -> None:
        torch.distributed.init_process_group("gloo")
        rank = torch.distributed.get_rank()
        torch.save(work(rank), folder / f"result_{rank}.pt")
        torch.distributed.destroy_process_group()

    assert forked(each, folder, processes) == [0] * processes
    return [torch.load(folder / f"result_{rank}.pt") for rank in range(processes)]
