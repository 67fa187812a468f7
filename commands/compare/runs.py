"""Runs of a comparison: start, resume and stop them, and write the results after each seed."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NoReturn

import yaml
from lightning.pytorch import Trainer

from callbacks.checkpoint import Stopped
from callbacks.results.comparison import Comparison, Run, read_run
from callbacks.run_directory import RunDirectory
from commands.arguments import flatten
from commands.compare.plan import Plan
from modules.contracts import Backbone, ConfigError, DataError, writing
from modules.training.transfer import load_backbone


def check_starts(backbone: Backbone, starts: dict[str, str | None]) -> None:
    """Load every start into `backbone`, so that a bad one is found before the first training.

    Raises:
        ConfigError, DataError: as `load_backbone`.
    """
    for name, weights in starts.items():
        print(f"start {name}: {load_backbone(backbone, weights) if weights else 'random weights'}", flush=True)


def compare(
    plan: Plan, monitor: str, mode: str, settings: dict[str, Any], trainer: Trainer, directory: RunDirectory
) -> None:
    """Train the missing runs, seed by seed, and write the results after each seed.

    Args:
        plan: the runs.
        monitor: log name of the metric that is compared.
        mode: "max" if higher is better, "min" if lower is.
        settings: the flat configuration that all runs share.
        trainer: knows the folder and the loggers of the comparison; it trains nothing.
        directory: the plan's folder, claimed; every run holds its lock too, in case this process is killed.

    Raises:
        ConfigError: settings that leave nothing to compare.
        DataError: a run that is there was made with other settings, or a run failed.
        Stopped: by SIGINT or SIGTERM; the run was told to save.
    """
    if settings.get("trainer.fast_dev_run"):
        raise ConfigError("fast_dev_run leaves no results to compare: use it with fit, or say --trainer.max_epochs 1")
    order = [(seed, start) for seed in plan.seeds for start in plan.starts]
    for seed, start in order:
        _check_made(plan, start, seed, settings)
    _begin(plan)
    print(f"output of each run: {plan.folder}/START/seedK.log", flush=True)
    directory.point_latest()
    comparison = Comparison(monitor, mode, plan.starts)
    handlers = {number: signal.signal(number, _stop(plan)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for done, (seed, start) in enumerate(order, start=1):
            run, note = _run(plan, start, seed, monitor, directory.lock)
            print(f"[{done}/{len(order)}] {start}, seed {seed}: {comparison.add(start, seed, run)}, {note}", flush=True)
            if done % len(plan.starts) == 0:
                comparison.write(trainer)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        comparison.print_table()
    print(f"written: {plan.folder}/  (compare.json, compare.csv, figures/compare.png, START/seedK/)", flush=True)


def _check_made(plan: Plan, start: str, seed: int, settings: dict[str, Any]) -> None:
    """Check that a run that is there was trained with the same settings."""
    path = plan.run_folder(start, seed) / "config.yaml"
    if not path.is_file():
        return
    now = settings | {"model.init_args.weights": plan.starts[start], "seed_everything": seed}
    then = flatten(yaml.safe_load(path.read_text()))
    for key in sorted(now.keys() | then.keys()):
        if now.get(key) != then.get(key):
            raise DataError(
                f"{path.parent} was trained with {key} {then.get(key)}, not {now.get(key)}: "
                "type what was typed then, or choose another --run_dir"
            )


def _begin(plan: Plan) -> None:
    """Mark the folder as a comparison, so that it can be continued."""
    if not plan.begun:
        path = plan.folder / "compare.json"
        with writing(path):
            path.write_text(json.dumps({"starts": plan.starts, "seeds": plan.seeds}) + "\n")


def _run(plan: Plan, start: str, seed: int, monitor: str, lock: IO[str]) -> tuple[Run, str]:
    """One finished run, trained when it is not there, and a note on how long that took."""
    folder = plan.run_folder(start, seed)
    if (folder / "results.json").is_file():
        return read_run(folder, monitor), "finished before"
    command = plan.fit(start, seed)
    if (folder / "checkpoints" / "last.ckpt").is_file():
        command += ["--ckpt_path", str(folder)]
    elif folder.exists():  # it was stopped before there was anything to continue from
        shutil.rmtree(folder)
    log, began = folder.with_suffix(".log"), time.monotonic()
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("w")
    with file:
        code = _wait([sys.executable, str(Path(__file__).parents[2] / "cli.py"), *command], file, lock)
    if code:
        sentence = f"{start}, seed {seed} failed: {_reason(log, code)} (all it said is in {log}; "
        sentence += f"once mended, go on with --run_dir {shlex.quote(str(plan.folder))})"
        raise ConfigError(sentence) if code == 2 else DataError(sentence)
    return read_run(folder, monitor), f"{(time.monotonic() - began) / 60:.1f} min"


def _wait(command: list[str], log: IO[str], lock: IO[str]) -> int:
    """Run a command; when this process is interrupted, the command is told to save and end first."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=[lock.fileno()]
    )
    try:
        return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait()
        finally:
            child.kill()  # a second Ctrl-C does not wait
        raise


def _stop(plan: Plan) -> Any:
    def handler(number: int, frame: Any) -> NoReturn:
        raise Stopped(plan.folder, number, "--run_dir")

    return handler


def _reason(log: Path, code: int) -> str:
    """The reason of a run's failure: its last error sentence, else its last line."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing"])[-1]
