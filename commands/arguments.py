"""Command-line arguments before parsing: values of options, and the checkpoint or run that they name."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from modules.contracts import ConfigError, DataError

COMMANDS = ("fit", "validate", "test", "predict", "evaluate")
ALL_COMMANDS = (*COMMANDS, "compare", "backbones")  # the last two are not methods of the trainer


def option(argv: list[str], name: str) -> str | None:
    """The last value of an option as typed, `--name value` or `--name=value`."""
    value = None
    for i, word in enumerate(argv):
        if word == name and i + 1 < len(argv):
            value = argv[i + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def check_encodings(argv: list[str]) -> None:
    """Refuse YAML files that are not in UTF-8, before the parser fails on them.

    Raises:
        ConfigError: names the file and its encoding.
    """
    from datamodules.text_files import unicode_of  # with the classes of all data modules, which takes seconds

    for word in argv:
        path = Path(word.partition("=")[2] if word.startswith("--") else word)
        if path.suffix.lower() not in (".yaml", ".yml") or not path.is_file():
            continue
        data = path.read_bytes()
        encoding = unicode_of(data)
        try:
            data.decode("utf-8")
            known = encoding == "utf-8-sig"
        except UnicodeDecodeError:
            known = False
        if not known:
            said = "not UTF-8" if encoding == "utf-8-sig" else encoding.upper()
            raise ConfigError(f"{path} is {said}: save it as UTF-8")


def replace_option(argv: list[str], name: str, value: str | None) -> list[str]:
    """The arguments with one value for `name`; without it if that is null."""
    kept, skip = [], False
    for word in argv:
        if not skip and word != name and not word.startswith(f"{name}="):
            kept.append(word)
        skip = not skip and word == name
    return kept if value is None else [*kept, name, value]


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
    folder, job = option(argv, "--run_dir"), os.environ.get("SLURM_JOB_ID")
    if folder is None and job is None:
        raise ConfigError("--ckpt_path auto goes on with what is in --run_dir: add one, the same every time")
    folder = folder or f"runs/{name}/slurm_{job}"
    argv = replace_option(argv, "--run_dir", folder)
    saved = Path(folder).expanduser() / "checkpoints"
    found = any((saved / f"{name}.ckpt").is_file() for name in ("last", "best"))
    return replace_option(argv, "--ckpt_path", folder if found else None)


def as_lists(argv: list[str], names: Iterable[str]) -> list[str]:
    """Options of several numbers as YAML lists, so that `--label_fractions 0.01,0.1` or `1` can be typed."""
    for name in names:
        value = option(argv, name)
        if value is not None and not value.startswith("["):
            argv = replace_option(argv, name, f"[{value}]")
    return argv


def config_path(argv: list[str]) -> Path | None:
    """The last --config as typed."""
    typed = option(argv, "--config") or option(argv, "-c")
    return Path(typed) if typed else None


def run_name(argv: list[str]) -> str:
    """Name of the run: that of its YAML; for a run's own config.yaml, that run's name; else the task's."""
    path = config_path(argv)
    if path is None:
        return (option(argv, "--model") or "run").lower()
    return path.resolve().parent.parent.name if path.name == "config.yaml" else path.stem


def typed_task(argv: list[str]) -> str | None:
    """The task's class name as typed, or as the YAML says; null when neither does."""
    path, typed = config_path(argv), option(argv, "--model")
    if typed is None and path is not None and path.is_file():
        try:
            model = (yaml.safe_load(path.read_text()) or {}).get("model")
        except (yaml.YAMLError, AttributeError):
            return None  # parsing reports it
        typed = model.get("class_path") if isinstance(model, dict) else model
    return typed.rpartition(".")[2] if typed else None


def without_none(argv: list[str]) -> list[str]:
    """The arguments with `null` for Python's `None`, which agents of sweeps send."""
    return [re.sub(r"(^|^--[\w.+]+=)None$", r"\1null", word) for word in argv]


def check_weights(argv: list[str], name: str) -> None:
    """Refuse commands that need a checkpoint but have none; published classifiers bring their own weights.

    Raises:
        ConfigError: names the option.
    """
    command = argv[0] if argv else ""
    published = option(argv, "--model.head") == "pretrained" and command != "evaluate"  # nothing to be trained
    if command not in COMMANDS[1:] or published or {"-h", "--help", "--print_config"} & set(argv):
        return
    raise ConfigError(
        f"{command} needs weights: add --ckpt_path with a .ckpt file, a run directory, "
        f"or `latest` for runs/{name}/latest"
    )


def find_checkpoint(typed: str, name: str, resume: bool) -> Path:
    """A checkpoint file from a file, a run directory or `latest`: the last one to resume, else the averaged
    weights of StochasticWeightAveraging, or the best.

    A folder of runs stands for its latest run.

    Raises:
        DataError: there is none.
    """
    path = Path("runs") / name / "latest" if typed == "latest" else latest_run(Path(typed).expanduser())
    if path.is_dir():
        order = ("last", "best") if resume else ("averaged", "best", "last")
        found = [path / "checkpoints" / f"{n}.ckpt" for n in order if (path / "checkpoints" / f"{n}.ckpt").is_file()]
        if not found:
            raise DataError(f"{path} has no checkpoints yet")
        path = found[0]
    if typed == "latest" and not path.is_file():
        runs = ", ".join(str(p) for p in sorted(Path("runs").glob("*/latest"))) or "none yet"
        raise DataError(f"there is no {path}; runs here: {runs}")
    if not path.is_file():
        raise DataError(f"no checkpoint at {path}: expected a .ckpt file, a run directory, or `latest`")
    return path.resolve()


def latest_run(path: Path) -> Path:
    """The latest run of a folder of runs, such as runs/simclr; any other path as it is.

    Runs count by when their last checkpoint was written where there is no link `latest`.
    """
    if not path.is_dir() or (path / "checkpoints").is_dir() or (path / "backbone.safetensors").is_file():
        return path
    if (path / "latest" / "checkpoints").is_dir():
        return path / "latest"
    runs = [(file.stat().st_mtime_ns, file.parent.parent) for file in path.glob("*/checkpoints/last.ckpt")]
    return max(runs)[1] if runs else path


def located(weights: str) -> str:
    """Resolve the path in --model.weights, because the link `latest` may lead elsewhere tomorrow; relative to the
    working directory where it lies below it. `none` and `pretrained` stay as they are."""
    if weights in ("none", "pretrained"):
        return weights
    path, here = Path(weights).expanduser(), Path.cwd().resolve()
    path = latest_run(path)
    path = path.resolve() if path.is_dir() else path.parent.resolve() / path.name  # a cache's links have the endings
    return str(path.relative_to(here) if here in path.parents else path)


def checkpoint_name(path: Path, task: str) -> str:
    """Name of a checkpoint's run: NAME of runs/NAME/TIME/checkpoints/, elsewhere its task."""
    run = path.parent.parent
    return run.parent.name if run.parent.parent.name == "runs" else task.lower()


def remembered(hparams: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's hyper-parameters as a class_path and init_args."""
    hparams = {k: v for k, v in hparams.items() if k != "_instantiator"}
    return {"class_path": hparams.pop("_class_path"), "init_args": hparams} if "_class_path" in hparams else {}


def flatten(tree: dict[str, Any], prefix: str = "", skip: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; keys called `skip` leave no trace in the names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix.removesuffix(".") if key == skip else f"{prefix}{key}"
        flat |= flatten(value, f"{name}.", skip) if isinstance(value, dict) and value else {name: value}
    return flat
