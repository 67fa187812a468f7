"""The checkpoint of a command: what it resumes or works with, and what is known of the training."""

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import callbacks
import tasks
from commands.arguments import find_config, parse_known, read_yaml, typed_class
from commands.checkpoints import checkpoint_name, find_checkpoint
from commands.handed_on import handed_on, typed_data
from modules.contracts import ConfigError
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
    """

    path: Path
    name: str
    epoch: int
    settings: dict[str, dict[str, Any]]
    meaning: dict[str, Any]


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
    if asked and asked != task:
        raise ConfigError(
            f"{path} is a checkpoint of {task}, but this command is about {asked}; "
            f"to start from its backbone use --model.weights {shlex.quote(typed.ckpt_path)}"
        )
    sections = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}
    settings = {section: _settings(checkpoint.get(key, {})) for section, key in sections.items()}
    data = settings["data"].get("class_path", "").rpartition(".")[2]
    name = name if asked or typed.config else checkpoint_name(path, task)
    return Trained(path, name, checkpoint.get("epoch", 0), settings, checkpoint.get(data, {}))


def settings_for(trained: Trained, argv: list[str]) -> str:
    """The settings that a checkpoint hands on to a command other than `fit`, as YAML.

    Raises:
        ConfigError: options that cannot go with a checkpoint, or settings that name code which was not typed.
    """
    command = argv[0]
    if parse_known(argv).weights:
        raise ConfigError(f"{command} is about the weights of --ckpt_path: leave --model.weights out")
    if command == "predict" and (few := {"label_fraction", "num_labels", "val_split"} & typed_data(argv)[1]):
        name = min(few)
        raise ConfigError(f"data.{name} is about training, but predict takes every sample: leave --data.{name} out")
    check_trusted(trained.settings, trained.path, typed_texts(argv))
    model, data = trained.settings["model"], handed_on(trained.settings["data"], argv)
    if "weights" in (known := model.get("init_args", {})):
        model = model | {"init_args": known | {"weights": None}}  # the checkpoint holds them
    return json.dumps({section: value for section, value in (("model", model), ("data", data)) if value})


def typed_texts(argv: list[str]) -> set[str]:
    """All texts that the user typed, those in YAML and in the YAML files that were named included."""
    values = [word.partition("=")[2] if word.startswith("--") else word for word in argv]
    trees = [read_yaml(find_config(value)) for value in values if value.endswith((".yaml", ".yml"))]
    return {text for _, text in texts([values, trees], files=False)}


def _settings(hparams: dict[str, Any]) -> dict[str, Any]:
    hparams = {k: v for k, v in hparams.items() if k != "_instantiator"}
    return {"class_path": hparams.pop("_class_path"), "init_args": hparams} if "_class_path" in hparams else {}
