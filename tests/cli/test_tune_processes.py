"""`tune` with real fits: killed, gone on with by two processes at once, and equal to a search that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, TINY, environment, values

pytest.importorskip("optuna", reason='pip install "graft[tune]"')
pytestmark = pytest.mark.slow


def tune(folder: Path, run: str) -> subprocess.Popen:
    """A search of three trials in a process of its own."""
    typed = ["tune", "--config", "tasks/classification.yaml", *TINY, "--trainer.max_epochs=2", "--space", "tune.yaml"]
    typed += ["--sampler", "random", "--trials", "3", "--seeds", "0", "--run_dir", run]
    log = (folder / f"{run}.log").open("a")
    return subprocess.Popen([sys.executable, str(ROOT / "cli.py"), *typed], cwd=folder, env=environment(), stdout=log)


def test_a_killed_search_that_two_processes_finish_equals_a_whole_one(tmp_path):
    (tmp_path / "tasks").symlink_to(ROOT / "tasks")
    (tmp_path / "tune.yaml").write_text("model.optim.lr: {low: 0.0001, high: 0.01, log: true}\n")
    killed = tune(tmp_path, "killed")
    while not (tmp_path / "killed/trials/001/checkpoints/last.ckpt").exists():
        assert killed.poll() is None
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    both = [tune(tmp_path, "killed"), tune(tmp_path, "killed")]
    assert [process.wait(timeout=280) for process in both] == [0, 0]
    assert tune(tmp_path, "whole").wait(timeout=280) == 0
    reports = [json.loads((tmp_path / run / "tune.json").read_text()) for run in ("killed", "whole")]
    first, second = ({t["number"]: t["settings"] for t in report["trials"]} for report in reports)
    assert first == second and len(first) == 3
    states = [{t["number"]: t["state"] for t in report["trials"]} for report in reports]
    for number in first:
        if states[0][number] == states[1][number] == "finished":  # pruning depends on who came first
            assert values(tmp_path / f"killed/trials/{number:03d}") == values(tmp_path / f"whole/trials/{number:03d}")
    assert states[0][0] == "finished" and "unfinished" not in states[0].values()
