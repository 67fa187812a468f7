"""Comparing initializations: one task trained from several starts with several seeds, every run a `fit` of its own.

`fit.Compare` reads the configuration; this module plans, starts, resumes and stops the runs.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import yaml
from lightning.pytorch import Trainer

from callbacks.checkpoint import Stopped
from callbacks.results.comparison import Comparison, Run, read_run
from callbacks.run_directory import RunDirectory, new_path
from commands.arguments import flatten, located, run_name
from modules.contracts import Backbone, ConfigError, DataError, writing
from modules.training.transfer import load_backbone

OWN = ("--model.weights", "--model.init_args.weights", "--seed_everything", "--ckpt_path")  # compare sets them itself


class Plan(NamedTuple):
    """Runs of a comparison: every start with every seed.

    Args:
        starts: short name of each start -> value of --model.weights; null for random weights.
        seeds: of the runs of each start.
        folder: holds the run directories `<start>/seed<k>/` and the results of the comparison.
        typed: the arguments of fit that all runs share.
    """

    starts: dict[str, str | None]
    seeds: list[int]
    folder: Path
    typed: list[str]

    @property
    def begun(self) -> bool:
        """True if the folder holds a comparison, which is then continued."""
        return (self.folder / "compare.json").is_file()

    def run_folder(self, start: str, seed: int) -> Path:
        return self.folder / start / f"seed{seed}"

    def fit(self, start: str, seed: int) -> list[str]:
        """The arguments of one run."""
        own = {
            "--model.weights": self.starts[start] or "null",  # said, because a YAML may name weights too
            "--seed_everything": str(seed),
            "--run_dir": str(self.run_folder(start, seed)),
        }
        return ["fit", *self.typed, *(word for pair in own.items() for word in pair)]


class Parser(argparse.ArgumentParser):
    """compare's own options; errors become one sentence."""

    def __init__(self) -> None:
        super().__init__(
            "python cli.py compare",
            "python cli.py compare --config tasks/TASK.yaml --weights none,RUN,... [--seeds N] [--run_dir DIR] [...]",
            "Compares initializations: trains one task from several starts, with the same seeds for each, and writes a "
            "table, compare.json, compare.csv and figures/compare.png.",
            "All options of `fit` work too and hold for every run (python cli.py fit --help), except "
            f"{', '.join(name for name in OWN if 'init_args' not in name)}.",
            allow_abbrev=False,
        )
        self.add_argument(
            "--weights",
            metavar="START,...",
            help="initial weights of the backbone, separated by commas: `none` for random weights, `pretrained` for "
            "timm's, or a run directory, a .ckpt or a backbone.safetensors. Differences are taken to `none`, else to "
            "the first",
        )
        self.add_argument(
            "--seeds", default="3", help="number of seeds (3 means 0, 1 and 2), or a list: 0,5,9. Default %(default)s"
        )
        self.add_argument(
            "--run_dir",
            help="output folder; default runs/compare_NAME/TIME. An interrupted comparison resumes when given its "
            "folder: finished runs are not repeated, unfinished ones continue from their last checkpoint",
        )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"compare: {message}")


def typed_plan(argv: list[str]) -> Plan:
    """Parse the arguments typed after `compare`.

    Raises:
        ConfigError: a start or seed is missing, wrong or named twice, or an option that compare sets itself was typed.
    """
    own, typed = Parser().parse_known_args(argv)
    for name in OWN:
        if any(word == name or word.startswith(f"{name}=") for word in typed):
            instead = {"--seed_everything": "--seeds", "--ckpt_path": "--run_dir DIR to go on"}.get(name, "--weights")
            raise ConfigError(f"compare sets {name} for each run itself: leave it out and say {instead}")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise ConfigError("compare starts processes itself: run it without torchrun, with --trainer.devices N")
    starts = [located(word.strip()) for word in (own.weights or "").split(",") if word.strip()]
    if not starts:
        raise ConfigError("compare needs something to start from: add --weights none,RUN,... (see compare --help)")
    if twice := [start for i, start in enumerate(starts) if start in starts[:i]]:
        raise ConfigError(f"--weights names {twice[0]} twice: every start is trained once per seed")
    folder = Path(own.run_dir) if own.run_dir else new_path(f"compare_{run_name(typed)}")
    if folder.is_symlink():  # `latest` may point elsewhere tomorrow
        folder = folder.parent / folder.readlink()
    named = {name: None if start == "none" else start for name, start in zip(labels(starts), starts, strict=True)}
    return Plan(named, _seeds(own.seeds), folder, typed)


def labels(starts: list[str]) -> list[str]:
    """Short and unique names, fit for folders: a run's configuration, and where two share one, also its time.

    runs/simclr/2026-07-01_10-00-00, runs/moco/2026-07-01_11-00-00 -> simclr, moco;
    runs/simclr/2026-07-01_10-00-00, runs/simclr/2026-07-02_10-00-00 -> simclr_2026-07-01_10-00-00, ...

    Raises:
        ConfigError: not even all folders above tell two apart.
    """
    tags, depths = [_tags(start) for start in starts], [1] * len(starts)
    while True:
        made = ["_".join(tag[:depth]) for tag, depth in zip(tags, depths, strict=True)]
        alike = [i for i, name in enumerate(made) if made.count(name) > 1 and depths[i] < len(tags[i])]
        if not alike:
            break
        for i in alike:
            depths[i] += 1
    if twice := [name for i, name in enumerate(made) if name in made[:i]]:
        raise ConfigError(f"two of --weights would both be called {twice[0]}: rename one of their folders")
    return made


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
        comparison.say()
    print(f"written: {plan.folder}/  (compare.json, compare.csv, figures/compare.png, START/seedK/)", flush=True)


def _tags(start: str) -> list[str]:
    """Parts of a start's path for its short name, most specific first: configuration, time, file, further folders."""
    path = run = Path(start).expanduser()
    file = path.suffix in (".ckpt", ".safetensors")
    if file:
        inside = 2 if path.parent.name == "checkpoints" else 1 if path.name == "backbone.safetensors" else 0
        run = path.parents[inside - 1] if inside else path.with_suffix("")
    names = [name for name in reversed(run.parts) if name != "/"]
    if re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(\+\d+)?", run.name):
        names[:2] = reversed(names[:2])
    return [*names[:2], *([path.stem] if file else []), *names[2:]]


def _seeds(typed: str) -> list[int]:
    words = [word.strip() for word in typed.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and int(word) < 2**32 for word in words):
        raise ConfigError(f"--seeds is {typed!r}, but must be a number of seeds (3) or a list of them (0,5,9)")
    seeds = [int(word) for word in words] if "," in typed else list(range(int(typed)))
    if not seeds:
        raise ConfigError("--seeds is 0, but at least one seed is needed")
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {typed}: duplicate seed {next(s for s in seeds if seeds.count(s) > 1)}")
    return seeds


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
        code = _wait([sys.executable, str(Path(__file__).parents[1] / "cli.py"), *command], file, lock)
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
