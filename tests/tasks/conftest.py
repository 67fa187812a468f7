"""Fixtures of the task tests on several devices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def alone_and_by_twos(tmp_path):
    """Factory that runs a script of this folder in one process and in two; returns both output files.

    Arguments of the script: number of processes, output path.
    """

    def run(script: str) -> list[Path]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        written = []
        for processes, launcher in ((1, []), (2, torchrun)):
            written.append(tmp_path / f"{processes}.out")
            command = [
                sys.executable,
                *launcher,
                str(Path(__file__).with_name(script)),
                str(processes),
                str(written[-1]),
            ]
            done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-3000:]
        return written

    return run
