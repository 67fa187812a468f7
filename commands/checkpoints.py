"""Checkpoints and runs that the command line names: `--ckpt_path`, `--model.weights`, `latest`, `auto`."""

import os
from pathlib import Path
from typing import Any

from commands.arguments import TRAINER_COMMANDS, UNNAMED, parse_known, run_name, without
from modules.contracts import ConfigError, DataError
from modules.contracts.repositories import FOLDER, HUB


def resume_or_start(argv: list[str], name: str) -> list[str]:
    """`fit --ckpt_path auto`: the arguments with the checkpoint in the run directory if there is one, else without.

    The same command begins a run and, submitted again, resumes it. In a SLURM job the run directory may be left out:
    it is named by the job's number, which a requeued job keeps.

    Args:
        argv: as typed.
        name: of the run's configuration.

    Raises:
        ConfigError: another command, or no run directory.
    """
    if argv[0] != "fit":
        raise ConfigError(f"--ckpt_path auto resumes a fit or starts it; {argv[0]} needs a checkpoint: a file or a run")
    folder, job = parse_known(argv).run_dir, os.environ.get("SLURM_JOB_ID")
    if folder is None and job is None:
        raise ConfigError("--ckpt_path auto goes on with what is in --run_dir: add one, the same every time")
    folder = folder or f"runs/{name}/slurm_{job}"
    found = first_saved(Path(folder).expanduser(), "last", "best")
    argv = [*without(without(argv, "--run_dir"), "--ckpt_path"), "--run_dir", folder]
    return [*argv, "--ckpt_path", folder] if found else argv


def first_saved(run: Path, *names: str) -> Path | None:
    """The first of these checkpoints that a run has; null for none."""
    files = (run / "checkpoints" / f"{name}.ckpt" for name in names)
    return next((file for file in files if file.is_file()), None)


PIXELS = ("pixels", "RawPixels")
"""Names of the backbone without weights."""


def check_weights(argv: list[str], name: str) -> None:
    """Refuse commands that need a checkpoint but have none; published classifiers bring their own weights.

    Pixels, which `evaluate` judges as features, have no weights.

    Raises:
        ConfigError: names the option.
    """
    command = argv[0] if argv else ""
    typed = parse_known(argv)
    untrained = typed.backbone in PIXELS if command == "evaluate" else typed.head == "pretrained"
    if command not in TRAINER_COMMANDS[1:] or untrained or {"-h", "--help", "--print_config"} & set(argv):
        return
    raise ConfigError(
        f"{command} needs weights: add --ckpt_path with a .ckpt file, a run directory, "
        f"or `latest` for runs/{name}/latest"
    )


def find_checkpoint(typed: str, name: str, resume: bool) -> Path:
    """A checkpoint file from a file, a run directory or `latest`.

    In a run directory it is the last one to resume, else the averaged weights of StochasticWeightAveraging, or the
    best. A folder of runs stands for its latest run.

    Raises:
        DataError: there is none.
    """
    path = newest(name, "checkpoints") if typed == "latest" else latest_run(Path(typed).expanduser())
    if path.is_dir():
        order = ("last", "best") if resume else ("averaged", "best", "last")
        found = first_saved(path, *order)
        if not found:
            raise DataError(f"{path} has no checkpoints yet")
        path = found
    if not path.is_file():
        raise DataError(f"no checkpoint at {path}: expected a .ckpt file, a run directory, or `latest`")
    return path.resolve()


def newest(name: str, *parts: str) -> Path:
    """The run that `latest` stands for: runs/NAME/latest, or without a name the only runs/*/latest.

    Args:
        name: of the run's configuration, `UNNAMED` without one.
        parts: files or folders of which such a run has one.

    Raises:
        DataError: there is none, or several without a name.
    """
    path, named = Path("runs") / name / "latest", name != UNNAMED
    if path.exists():
        return path
    runs = [run for run in sorted(Path("runs").glob("*/latest")) if any((run / part).exists() for part in parts)]
    if len(runs) == 1 and not named:
        return runs[0]
    listed = ", ".join(map(str, runs)) or "none yet"
    if runs and not named:
        raise DataError(f"latest alone may be any of {listed}: type one of these paths")
    raise DataError(f"there is no {path if named else 'runs/NAME/latest'}; runs here: {listed}")


def with_newest(argv: list[str]) -> list[str]:
    """The arguments with the run in place of `--ckpt_path latest`, where no configuration names it.

    Raises:
        DataError: there is none, or several.
    """
    if parse_known(argv).ckpt_path != "latest" or run_name(argv) != UNNAMED or {"-h", "--help"} & set(argv):
        return argv
    return [*without(argv, "--ckpt_path"), "--ckpt_path", str(newest(UNNAMED, "checkpoints"))]


def latest_run(path: Path) -> Path:
    """The latest run of a folder of runs, such as runs/simclr, or the run of its checkpoints; other paths stay.

    Runs count by when their last checkpoint was written where there is no link `latest`.
    """
    if not path.is_dir() or (path / "checkpoints").is_dir() or (path / "backbone.safetensors").is_file():
        return path
    if path.name == "checkpoints":
        return path.resolve().parent
    if (path / "latest" / "checkpoints").is_dir():
        return path / "latest"
    runs = [(file.stat().st_mtime_ns, file.parent.parent) for file in path.glob("*/checkpoints/last.ckpt")]
    return max(runs)[1] if runs else path


def resolve_weights(weights: str) -> str:
    """Resolve the path in --model.weights, because the link `latest` may lead elsewhere tomorrow.

    It is relative to the working directory where it lies below it. `none`, `pretrained`, `torchvision` and
    repositories of the hub stay as they are.
    """
    if weights in ("none", "pretrained", "torchvision") or weights.startswith(HUB):
        return weights
    if weights.startswith(FOLDER):
        return FOLDER + resolve_weights(weights.removeprefix(FOLDER))
    path, here = Path(weights).expanduser(), Path.cwd().resolve()
    path = latest_run(path)
    path = path.resolve() if path.is_dir() else path.parent.resolve() / path.name  # a cache's links have the endings
    return str(path.relative_to(here) if here in path.parents else path)


def resolve_starts(init_args: Any) -> None:
    """Resolve the paths among a task's settings that it starts from."""
    for settings, name in (
        (init_args, "weights"),
        (init_args, "init_from"),
        (init_args, "self_critical"),
        (init_args, "teacher"),
        (init_args.get("distill") or {}, "teacher"),
    ):
        if settings.get(name):
            settings[name] = resolve_weights(settings[name])
    if runs := init_args.get("ensemble"):
        runs = runs.split(",") if isinstance(runs, str) else runs
        init_args["ensemble"] = [resolve_weights(run) if run else run for run in runs]


def run_of(path: Path) -> Path:
    """Run directory of a checkpoint file; its own folder where it lies elsewhere."""
    return path.parent.parent if path.parent.name == "checkpoints" else path.parent


def checkpoint_name(path: Path, task: str) -> str:
    """Name of a checkpoint's run: NAME of runs/NAME/TIME/checkpoints/, elsewhere its task."""
    run = path.parent.parent
    return run.parent.name if run.parent.parent.name == "runs" else task.lower()
