"""Commands of short runs, in processes of their own where they may be killed, and the files of their runs."""

import contextlib
import csv
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.helpers.forks import forked

ROOT = Path(__file__).parents[2]
TINY = "--data.train 40 --data.val 20 --data.test 20 --data.batch_size 10 --data.workers 0 --data.image_size 32".split()
TINY += "--trainer.max_epochs 1 --figures.samples 1 --trainer.precision 32".split()
"""A run of seconds on the built-in images; the first six words are the sizes of the splits."""

EXPLANATIONS = "--trainer.callbacks+=Explanations --trainer.callbacks.samples 2 --trainer.callbacks.every 1".split()
EXPLANATIONS += ["--trainer.callbacks.method", "[saliency]"]
"""Attribution maps of two samples after each epoch."""

KILL = """
import os, signal, sys
from callbacks import TerminateOnNaN
after = TerminateOnNaN.on_train_batch_end
def killing(self, trainer, *rest):
    after(self, trainer, *rest)
    if trainer.global_step == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
TerminateOnNaN.on_train_batch_end = killing
import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def measured(run: Path) -> list[dict[str, str]]:
    """Rows of `metrics.csv` without the columns that measure time."""
    with (run / "metrics.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("train/samples_per_sec", "train/data_time_fraction")}
            for row in csv.DictReader(file)
        ]


def results(run: Path | str) -> dict[str, dict]:
    """Rows of `results.json` by metric."""
    return {row["metric"]: row for row in json.loads(Path(run, "results.json").read_text())["results"]}


def values(run: Path | str) -> dict[str, float]:
    """Numbers of `results.json` by metric."""
    return {name: row["value"] for name, row in results(run).items()}


def following(out: str) -> dict[str, list[str]]:
    """Commands that a command printed as the next ones, as words, by purpose."""
    lines = [line for line in out.replace("\\\n", "").splitlines() if line.startswith("next, ")]
    return {line[6 : line.index(":")]: shlex.split(line[line.index(":") + 1 :]) for line in lines}


def state(run: Path) -> dict:
    """The last checkpoint."""
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def stopped(stop: str, step: int, typed: list[str], folder: Path) -> tuple[int, str]:
    """Run a command that executes `stop` at that step, in a process group of its own; exit code and output."""
    script = folder / "stopping.py"
    script.write_text(KILL.format(step=step).replace("os.kill(os.getpid(), signal.SIGKILL)", stop))
    command = [sys.executable, str(script), *typed]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True, **pipes)
    out, _ = process.communicate(timeout=120)  # ends with the last process that has the pipe
    return process.returncode, out


def command_line(typed: list[str], kill_at: int = 0, copy_at: int = 0, wandb: str = "disabled") -> Callable[[], int]:
    """A command for `forked`.

    Args:
        typed: its words.
        kill_at: optimizer step after which its process is killed; 0 for never.
        copy_at: optimizer step after which its run directory, `killed`, is copied to `copy`; 0 for never.
        wandb: mode of W&B.
    """

    def work() -> int:
        import cli
        from callbacks import TerminateOnNaN

        after = TerminateOnNaN.on_train_batch_end

        def killing(self, trainer, *rest):
            after(self, trainer, *rest)
            if kill_at and trainer.global_step == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if copy_at and trainer.global_step == copy_at and not Path("copy").exists():
                shutil.copytree("killed", "copy", symlinks=True)

        TerminateOnNaN.on_train_batch_end = killing
        sys.argv = ["cli.py"]
        os.environ["WANDB_MODE"] = wandb
        return cli.main(typed)

    return work


def whole_and_killed(typed: list[str], step: int, folder: Path) -> None:
    """Train `whole` in that folder, and leave `killed` beside it: what a kill after that step would have left.

    One process trains both, which saves a run; `test_resume.py` kills some for real.
    """
    assert forked(command_line([*typed, "--run_dir", "killed"], copy_at=step), folder) == [0]
    (folder / "killed").rename(folder / "whole")
    (folder / "copy").rename(folder / "killed")


def run(argv: list[str], folder: Path) -> int:
    """The exit code of a Python command."""
    return subprocess.run(
        [sys.executable, *argv], cwd=folder, env=environment(), stdout=subprocess.DEVNULL, check=False
    ).returncode


def environment() -> dict[str, str]:
    """Variables of a process that neither asks W&B nor takes all cores."""
    return {**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run children in this process, which saves the start of another; returns their commands, filled as they start."""
    import cli
    from commands import child

    started = []

    def wait(command, log, *rest):
        started.append(command[2:])
        with monkeypatch.context() as patch, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            patch.setattr("sys.argv", ["cli.py"])
            return cli.main(command[2:])

    monkeypatch.setattr(child, "wait", wait)
    return started


def options(command: list[str], *names: str) -> tuple[str, ...]:
    """Values of options that are typed as `--NAME=VALUE`."""
    typed = dict(word.split("=", 1) for word in command if word.startswith("--") and "=" in word)
    return tuple(typed[name] for name in names)
