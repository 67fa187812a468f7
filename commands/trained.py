"""The checkpoint of a command: what it resumes or works with, and what is known of the training."""

import json
import shlex
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.trainer.connectors import checkpoint_connector
from packaging.version import InvalidVersion, Version

import callbacks
import tasks
from commands.arguments import find_config, parse_known, read_yaml, typed_class
from commands.checkpoints import checkpoint_name, find_checkpoint
from commands.handed_on import handed_on, typed_data
from commands.parser import user_error
from modules.contracts import ConfigError, DataError
from modules.training.transfer import read_checkpoint
from modules.training.trusted import check_trusted, texts


class Trained(NamedTuple):
    """A checkpoint's file and what it remembers of its training.

    Args:
        path: the file.
        name: of its run.
        epoch: finished ones.
        settings: of `model` and `data`, as class_path and init_args; empty where unknown.
        meaning: classes and colors of the values in masks.
        lr_searched: a learning-rate finder has looked for its rate.
    """

    path: Path
    name: str
    epoch: int
    settings: dict[str, dict[str, Any]]
    meaning: dict[str, Any]
    lr_searched: bool = False


def read_trained(argv: list[str], name: str) -> Trained:
    """The checkpoint of --ckpt_path.

    Args:
        argv: the arguments; --ckpt_path is among them.
        name: of the run's configuration.

    Raises:
        ConfigError: it is of another task than the command.
        DataError: it is missing or no checkpoint.
    """
    command, typed, asked = argv[0], parse_known(argv), typed_class(argv, "model")
    path = find_checkpoint(typed.ckpt_path, name, resume=command == "fit")
    checkpoint = read_checkpoint(path)
    task = checkpoint.get("task", "another program")
    known = vars(tasks).get(task)
    if command != "fit" and isinstance(known, type) and known.pretraining and path.name != callbacks.AVERAGED:
        path = find_checkpoint(typed.ckpt_path, name, resume=True)  # pretraining exports its last weights
        checkpoint = read_checkpoint(path)
    _check_resumable(checkpoint, path, command)
    if asked and asked != task:
        raise ConfigError(
            f"{path} is a checkpoint of {task}, but this command is about {asked}; "
            f"to start from its backbone use --model.weights {shlex.quote(typed.ckpt_path)}"
        )
    sections = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}
    settings = {section: _settings(checkpoint.get(key, {})) for section, key in sections.items()}
    data = settings["data"].get("class_path", "").rpartition(".")[2]
    name = name if asked or typed.config else checkpoint_name(path, task)
    meaning = checkpoint.get(data, {})
    if not isinstance(meaning, dict):
        raise DataError(f"{path} is not as a training saves it: its {data} is {meaning!r}; take another checkpoint")
    return Trained(path, name, checkpoint.get("epoch", 0), settings, meaning, bool(checkpoint.get("lr_searched")))


def _check_resumable(checkpoint: dict[str, Any], path: Path, command: str) -> None:
    """Refuse a checkpoint that Lightning cannot take: of no version that it knows, or without what `fit` goes on with.

    Raises:
        DataError: names what it lacks.
    """
    version = checkpoint.get("pytorch-lightning_version")
    try:
        known = version is not None and Version(version).major >= 2
    except InvalidVersion:
        known = False
    if not known:
        said = "of no version of Lightning" if version is None else f"of Lightning {version!r}"
        raise DataError(f"{path} is {said}, but 2 or newer is needed: its weights can be taken as --model.weights")
    whole = {"lr_schedulers", "loops"} <= checkpoint.keys() and checkpoint.get("optimizer_states")
    if command == "fit" and not whole:
        raise DataError(
            f"{path} holds weights alone, without the state of the optimizer, so that fit cannot go on with it: resume "
            f"the run's last.ckpt, or start from these weights with --model.weights"
        )


def unrestorable(error: BaseException, path: Path | None) -> DataError | None:
    """A sentence on an error that the content of a checkpoint caused while Lightning restored it; null for others.

    Args:
        error: as raised by the trainer.
        path: of the checkpoint, if there is one.
    """
    if path is None or not isinstance(error, LookupError | TypeError | AttributeError | ValueError):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    restoring = any(
        frame.f_globals.get("__name__") == checkpoint_connector.__name__
        and frame.f_code.co_name.lstrip("_").startswith(("restore", "resume"))
        for frame in frames
    )
    if not restoring or user_error(error):
        return None
    said = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return DataError(f"{path} cannot be restored ({said}): take another checkpoint of the run")


def settings_for(trained: Trained, argv: list[str], named: tuple[str, ...] = ()) -> str:
    """The settings that a checkpoint hands on to a command other than `fit`, as YAML.

    Args:
        trained: the checkpoint.
        argv: the arguments.
        named: others of the user's, whose code is trusted too.

    Raises:
        ConfigError: options that cannot go with a checkpoint, or settings that name code which was not typed.
    """
    command = argv[0]
    if parse_known(argv).weights:
        raise ConfigError(f"{command} is about the weights of --ckpt_path: leave --model.weights out")
    if command == "predict" and (few := {"label_fraction", "num_labels", "val_split"} & typed_data(argv)[1]):
        name = min(few)
        raise ConfigError(f"data.{name} is about training, but predict takes every sample: leave --data.{name} out")
    check_trusted(trained.settings, trained.path, typed_texts([*argv, *named]))
    model, data = trained.settings["model"], handed_on(trained.settings["data"], argv)
    if starts := {"weights", "init_from"} & (known := model.get("init_args", {})).keys():
        model = model | {"init_args": known | dict.fromkeys(starts)}  # the checkpoint holds them
    return json.dumps({section: value for section, value in (("model", model), ("data", data)) if value})


def typed_texts(argv: list[str]) -> set[str]:
    """All texts that the user typed, those in YAML and in the YAML files that were named included."""
    values = [word.partition("=")[2] if word.startswith("--") else word for word in argv]
    trees = [read_yaml(find_config(value)) for value in values if value.endswith((".yaml", ".yml"))]
    return {text for _, text in texts([values, trees], files=False)}


def _settings(hparams: dict[str, Any]) -> dict[str, Any]:
    hparams = {k: v for k, v in hparams.items() if k != "_instantiator"}
    return {"class_path": hparams.pop("_class_path"), "init_args": hparams} if "_class_path" in hparams else {}
