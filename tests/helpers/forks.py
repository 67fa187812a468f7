"""Forks of the test process, which has the imports done: alone, or as the devices of one run."""

import os
import socket
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def forked(work: Callable[[], int | None], folder: Path, processes: int = 1) -> list[int]:
    """Call `work` in that many forks at once, and print what they say.

    Args:
        work: returns an exit code; null is 0.
        folder: working directory of the forks; their output is `fork_RANK.log` there.
        processes: several get the environment variables of torchrun, as devices of one machine.

    Returns:
        An exit code for each; that of a process that was killed is negative.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        shared = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1]), "TORCHELASTIC_RUN_ID": "none"}
    shared |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes), "GROUP_RANK": "0"}
    children = []
    for rank in map(str, range(processes)):
        variables = shared | {"RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {}
        children.append(_start(work, folder, folder / f"fork_{rank}.log", variables))
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for rank in range(processes):
        print((folder / f"fork_{rank}.log").read_text())
    return codes


def _start(work: Callable[[], int | None], folder: Path, log: Path, variables: dict[str, str]) -> int:
    if child := os.fork():
        return child
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(variables)
        with log.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            code = work() or 0
    finally:
        os._exit(code)  # nothing of the tests runs on in the fork
