"""`tune` with real fits: killed with its trial, gone on with by two processes, and equal to one that was not."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import wandb

from commands import child
from tests.helpers.commands import KILL, TINY, command_line, environment, in_this_process, measured, values
from tests.helpers.forks import forked
from tests.helpers.wandb_records import Logged

pytest.importorskip("optuna", reason='pip install "graft[tune]"')
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # four trials start processes, which a busy machine delays

TUNE = ["tune", "--config", "tasks/classification.yaml", *TINY, "--model.backbone", "test_resnet"]
TUNE += "--space tune.yaml --checkpoint.every_n_steps 1 --sampler random --trials 3 --seeds 0".split()
KILLING = KILL.replace("os.kill(os.getpid()", "os.killpg(os.getpgrp()").format(
    step="2 and trainer.default_root_dir.endswith('001')"
)
"""A fit that, as trial 1, kills its search and itself after its second step."""


def search(program: Path = child.PROGRAM) -> Callable[[], int]:
    """A search in a process group of its own, whose trials are processes that run this program."""

    def work() -> int:
        os.setsid()
        os.environ |= environment()
        child.PROGRAM = program
        return command_line([*TUNE, "--run_dir", "killed"], wandb="offline")()

    return work


def test_a_search_that_was_killed_with_its_trial_is_finished_by_two_processes(graft, tmp_path, monkeypatch):
    (tmp_path / "tune.yaml").write_text("model.optim.lr: {low: 0.0001, high: 0.01, log: true}\n")
    (tmp_path / "killing.py").write_text(KILLING)
    wandb.teardown()  # forks cannot share its process
    assert forked(search(tmp_path / "killing.py"), tmp_path) == [-signal.SIGKILL]
    said = [Path("fork_0.log").read_text()]
    assert not Path("killed/trials/001/results.json").exists()
    assert Path("killed/trials/001/checkpoints/last.ckpt").exists()
    assert forked(search(), tmp_path, processes=2, one_run=False) == [0, 0]
    said += [Path(f"fork_{rank}.log").read_text() for rank in range(2)]
    trained = [re.findall(r"^trial (\d)", text, flags=re.MULTILINE) for text in said]
    assert trained[0] == ["0"] and sorted(trained[1] + trained[2]) == ["1", "2"] and trained[1] and trained[2]
    assert re.search("goes on from .*/trials/001/checkpoints/last.ckpt", Path("killed/trials/001.log").read_text())

    in_this_process(monkeypatch)
    assert graft(*TUNE, "--run_dir", "whole")[0] == 0
    killed, whole = (json.loads(Path(run, "tune.json").read_text())["trials"] for run in ("killed", "whole"))
    shared = ("number", "state", "value", "settings")
    assert [[t[name] for name in shared] for t in killed] == [[t[name] for name in shared] for t in whole]
    assert [trial["state"] for trial in killed] == ["finished"] * 3
    for number in range(3):
        one, two = (Path(run, "trials", f"{number:03d}") for run in ("killed", "whole"))
        assert measured(one) == measured(two) and values(one) == values(two)
        *_, tracked = sorted((one / "wandb").glob("offline-run-*"))
        assert (Logged(tracked).run.job_type, Logged(tracked).run.run_group) == ("fit", "killed")
