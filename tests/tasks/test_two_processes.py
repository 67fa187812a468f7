"""Two gloo processes have the same losses as one with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT, SCRIPT = Path(__file__).parents[2], Path(__file__).with_name("two_processes.py")


def test_two_processes_have_the_losses_of_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for processes, launcher in ((1, []), (2, torchrun)):
        command = [sys.executable, *launcher, str(SCRIPT), str(processes), str(tmp_path / f"{processes}.json")]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (1, 2))
    assert set(one) == {"SimCLR", "MoCo", "MoCoV3", "BYOL", "SimSiam", "DINO", "DINO, sinkhorn"}
    for method, losses in one.items():
        assert len(losses) == 20
        assert losses[-1] != losses[0]
        assert two[method] == pytest.approx(losses, abs=1e-5), method
