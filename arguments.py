"""What was typed: options, the checkpoint that is meant, and sentences about mistakes."""

import inspect
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from albumentations import BasicTransform
from lightning.pytorch import Callback
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer

from datamodules import DataModule
from datamodules.text_files import unicode_of
from modules.contracts import Backbone, ConfigError, DataError, Head, Neck, nearest
from modules.text.decoder import Decoder
from modules.text.memory import Encoder
from tasks import Task

COMMANDS = ("fit", "validate", "test", "predict", "evaluate")
ALL_COMMANDS = (*COMMANDS, "compare", "backbones")  # which are no methods of the trainer
PARTS = (Task, DataModule, Backbone, Neck, Head, Encoder, Decoder, Callback, Optimizer, BasicTransform, Logger)


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
    """Refuses YAML files that are typed and not in UTF-8, which parsing would stumble over.

    Raises:
        ConfigError: names the file and its encoding.
    """
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

    So the same command begins a run and, submitted again, goes on with it. In a SLURM job the run directory may be left
    out: the job's number, which a requeued one keeps, names it.

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
    """Options of several numbers as YAML lists, so that `--labels 0.01,0.1` and `--labels 1` can be typed."""
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
    """What the run is called: its YAML's name; for a run's own config.yaml, that run's name; else the task."""
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


def find_checkpoint(typed: str, name: str, resume: bool) -> Path:
    """A checkpoint file from a file, a run directory or `latest`: the last one to resume, else the averaged
    weights of StochasticWeightAveraging, or the best.

    Raises:
        DataError: there is none.
    """
    path = Path("runs") / name / "latest" if typed == "latest" else Path(typed)
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


def located(weights: str) -> str:
    """What --model.weights takes, without links, because `latest` may lead elsewhere tomorrow; a path from here when it
    lies below."""
    if weights in ("none", "pretrained"):
        return weights
    path, here = Path(weights).expanduser(), Path.cwd().resolve()
    path = path.resolve() if path.is_dir() else path.parent.resolve() / path.name  # a cache's links have the endings
    return str(path.relative_to(here) if here in path.parents else path)


def checkpoint_name(path: Path, task: str) -> str:
    """What the run of a checkpoint is called: NAME of runs/NAME/TIME/checkpoints/, elsewhere its task."""
    run = path.parent.parent
    return run.parent.name if run.parent.parent.name == "runs" else task.lower()


def remembered(hparams: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's hyper-parameters as a class_path and init_args."""
    hparams = {k: v for k, v in hparams.items() if k != "_instantiator"}
    return {"class_path": hparams.pop("_class_path"), "init_args": hparams} if "_class_path" in hparams else {}


def check_trainer(config: dict[str, Any], task: Task) -> None:
    """Refuses what the trainer takes without a word and stumbles over later.

    Args:
        config: the trainer's settings.
        task: what it trains.

    Raises:
        ConfigError: names the setting and what to do.
    """
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if config[name] == 0:
            raise ConfigError(f"trainer.{name} is 0, so nothing would be trained: leave it out or raise it")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch"):
        if config[name] is not None and config[name] < 1:
            raise ConfigError(f"trainer.{name} is {config[name]}, but it counts from 1")
    if config["overfit_batches"]:
        raise ConfigError(
            "trainer.overfit_batches takes the data's own order away: set --data.labels to a small number"
        )
    precision = str(config["precision"])
    if task.float32 and precision in ("64", "64-true", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision is {precision}, but {type(task).__name__} has its weights in float32: take 32, "
            f"bf16-mixed or 16-mixed"
        )


def flatten(tree: dict[str, Any], prefix: str = "", skip: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; keys called `skip` leave no trace in the names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix.removesuffix(".") if key == skip else f"{prefix}{key}"
        flat |= flatten(value, f"{name}.", skip) if isinstance(value, dict) and value else {name: value}
    return flat


def readable(message: str, parser: LightningArgumentParser) -> str:
    """jsonargparse's report as one sentence, with the nearest name.

    Args:
        message: several indented lines, the reason among what every type of a union had to say.
        parser: knows the options.
    """
    nested = re.search(r"NestedArg\(key='([^']*)'", message)
    keys = re.findall(r'Parser key "([^"]+)"', message)
    key = ".".join([*keys[:1], *([nested[1]] if nested else keys[1:])])
    classes = {c for part in PARTS for c in _subclasses(part)}

    def found(pattern: str) -> str | None:
        match = re.search(pattern, message)
        return match[1] if match else None

    if name := found(r"(?:unrecognized arguments: --|does not accept option '|Option ')([\w.]+)"):
        option_of = key if nested else ".".join([*keys, name])
        known = {action.dest for action in parser._actions} | {
            f"{p}.{n}" for p in ("model", "data") for n in _arguments(classes)
        }
        last = {n.rpartition(".")[2] for n in known}
        hint = (
            nearest(option_of, sorted(known))
            if "." in option_of and not keys
            else nearest(name.rpartition(".")[2], sorted(last))
        )
        if f"{(option_of or name).rpartition('.')[2]!r}" in hint:
            hint = " here: only other classes have it"
        return f"there is no option {option_of or name}{hint}"
    choices = found(r"Expected a typing\.Literal\[(.*?)\]")
    if (name := found(r"Expected a dot import path string: (\S+)")) and not choices:
        return (
            f"{key}: there is no class {name!r}{nearest(name.rpartition('.')[2], sorted(c.__name__ for c in classes))}"
        )
    if names := found(r"following arguments are required: (.+)"):
        prefix = f"--{key}." if key else "--"
        return f"required: {', '.join(prefix + name.rpartition('.')[2] for name in names.split(', '))}"
    if choices:
        value = found(r"Got value: (.*)") or found(r"Given value: (?!NestedArg)(.*)") or found(r"val='([^']*)'")
        also = sorted(c.__name__ for c in classes) if name else []  # where a class is taken as well
        hint = nearest(str(name or value), [*re.findall(r"'(.*?)'", choices), *also])
        return f"{key} is {name or value!r}, but must be one of {choices}{' or a class' if name else ''}{hint}"
    if kind := found(r"Expected a <class '(?!NoneType)(\w+)'>"):
        value = found(r"Got value: (.*)") or found(r"val='([^']*)'") or found(r"Given value: (.*)")
        return f"{key} is {value!r}, but must be {'a number' if kind in ('int', 'float') else kind} ({kind})"
    if path := found(r"File does not exist: '([^']+)'"):
        folder = Path(path).parent
        files = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        return f"there is no file {path}{nearest(Path(path).name, files)}"
    if word := found(r"invalid choice: '(\w+)'"):
        return f"there is no command {word!r}: choose from {', '.join(ALL_COMMANDS)}{nearest(word, list(ALL_COMMANDS))}"
    if 'expected "subcommand"' in message:
        return f"say what to do: python cli.py {'|'.join(ALL_COMMANDS)} --config tasks/TASK.yaml"
    return re.sub(r"\s+", " ", message.split("Given value")[0]).strip()


def _subclasses(part: type) -> set[type]:
    return {part}.union(*map(_subclasses, part.__subclasses__()))


def _arguments(classes: set[type]) -> set[str]:
    ours = {c for c in classes if c.__module__.split(".")[0] in ("tasks", "datamodules", "modules", "callbacks")}
    return {
        name
        for c in ours
        for base in c.__mro__
        if "__init__" in vars(base)
        for name in inspect.signature(base.__init__).parameters
    } - {"self", "kwargs", "args"}
