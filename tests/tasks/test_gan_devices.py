"""Two gloo processes train a GAN as one does with the same global batch, without any option of the strategy."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT, SCRIPT = Path(__file__).parents[2], Path(__file__).with_name("two_gans.py")


def test_two_processes_have_the_weights_of_one(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for processes, launcher in ((1, []), (2, torchrun)):
        command = [sys.executable, *launcher, str(SCRIPT), str(processes), str(tmp_path / f"{processes}.pt")]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    assert {name: int(state["steps"]) for name, state in one.items()} == {"gan": 6, "wgan": 2, "r1": 3}
    assert any(name.startswith("averaged") for name in one["gan"])
    for method, state in one.items():
        for name, value in state.items():
            message = f"{method}: {name}"
            torch.testing.assert_close(
                two[method][name], value, atol=1e-4, rtol=1e-3, msg=lambda text, m=message: f"{m} {text}"
            )
