"""Settings of tasks and data modules as plain values in a checkpoint, and the checks when it is loaded."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from inspect import isfunction, signature
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule

from modules.contracts import ConfigError
from modules.training.trusted import trusted_settings

INSTANTIATOR = "lightning.pytorch.cli.instantiate_module"
"""Function by which `load_from_checkpoint` builds a module from such values, as those of the command line."""


def save_settings(checkpoint: dict[str, Any], task: LightningModule) -> None:
    """Make the settings of task and data module in a checkpoint plain, as those of the command line are.

    Names of the task's settings that cannot be plain, such as a network, become its entry `unsaved`.
    """
    data = task.trainer.datamodule if task._trainer is not None else None  # some are saved without one
    for key, owner in (("hyper_parameters", task), ("datamodule_hyper_parameters", data)):
        if key in checkpoint and owner is not None:
            checkpoint[key], unsaved = _plain_settings(checkpoint[key], type(owner))
            if owner is task:
                checkpoint["unsaved"] = unsaved


def saved_class(source: Any, kind: type, given: Collection[str] = ()) -> type:
    """Class of the task in a checkpoint: `kind` or derived from it; `kind` where the checkpoint does not tell.

    Args:
        source: path of the checkpoint, a URL or an open file.
        kind: class that loads it.
        given: names of settings that are given in place of those in the checkpoint.

    Raises:
        DataError: the path is a folder, or no checkpoint.
        ConfigError: another class, or settings that name code from elsewhere.
    """
    name = trusted_settings(source, "hyper_parameters", given).get("_class_path")
    if name is None:
        return kind
    module, _, own = name.rpartition(".")
    found = getattr(sys.modules.get(module), own, None)  # never imported because a file says so
    if not isinstance(found, type) or not issubclass(found, kind):
        raise ConfigError(
            f"{source} is of {name}, which is no {kind.__name__} here: import {own} and call {own}.load_from_checkpoint"
        )
    return found


def check_unsaved(checkpoint: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse a checkpoint some settings of which it could not hold, unless they are given again.

    Raises:
        ConfigError: names the setting.
    """
    for name in checkpoint.get("unsaved", ()):
        try:
            plain(settings.get(name))
        except TypeError:
            continue  # an object again
        raise ConfigError(
            f"model.{name} was an object from Python, which a checkpoint cannot hold: give it again, as "
            f"load_from_checkpoint(path, {name}=...)"
        )


def check_weights(checkpoint: dict[str, Any], task: LightningModule) -> None:
    """Refuse a checkpoint whose weights have other names or shapes than those of a task.

    Raises:
        ConfigError: names the first of them, and options that differ.
    """
    own, theirs = map(_sized, (task.state_dict(), checkpoint["state_dict"]))
    wrong = [f"it has no {k}" for k in own if k not in theirs]
    wrong += [f"it has {k}, which is not here" for k in theirs if k not in own]
    wrong += [
        f"{k} is {list(theirs[k].shape)} there and {list(v.shape)} here"
        for k, v in own.items()
        if k in theirs and theirs[k].shape != v.shape
    ]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        what = f"the checkpoint is of a {type(task).__name__} with other settings: {wrong[0]}{more}"
        made = checkpoint.get("hyper_parameters", {})
        if made and task._trainer is None and not _differing(made, task.hparams):  # replaced by load_from_checkpoint's
            raise ConfigError(f"{what}; give load_from_checkpoint no setting that changes the network")
        raise ConfigError(f"{what}; {_remedy(made, task.hparams)}")


def _sized(tensors: dict[str, Any]) -> dict[str, Any]:
    """Tensors whose shapes follow from settings: without mean images, which the data gave."""
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(".mean_image")}


def _differing(made: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings of a checkpoint that the task at hand has otherwise."""
    plain = {k: v for k, v in made.items() if k[0] != "_" and isinstance(v, str | int | float)}
    return {k: v for k, v in plain.items() if k in own and own[k] != v}


def _remedy(made: dict[str, Any], own: Mapping[str, Any]) -> str:
    """Remedy for a checkpoint with other settings: options to type."""
    differ = _differing(made, own)
    typed = [f"--model.{k} {str(v).lower() if isinstance(v, bool) else v}" for k, v in differ.items()]
    if typed:
        return f"it was made with {' '.join(typed)}"
    return "to start from its backbone alone, leave --ckpt_path out and give it as --model.weights"


def _plain_settings(settings: dict[str, Any], kind: type) -> tuple[dict[str, Any], list[str]]:
    """The settings that can be plain, with the class `kind` to build from them, and the names of the others."""
    kept, unsaved, accepted = {}, [], _accepted(kind)
    for name, value in settings.items():
        if name not in accepted:  # given by a subclass to its base
            continue
        try:
            kept[name] = plain(value)
        except TypeError:
            unsaved.append(name)
    try:
        own = {"_class_path": _path(kind), "_instantiator": INSTANTIATOR}
    except TypeError:  # a class within a function
        own = {}
    return own | kept, unsaved


def plain(value: Any) -> Any:
    """A value as text, numbers, lists and dicts: classes by their path, dataclasses by their fields.

    Raises:
        TypeError: an object that no such value describes, such as a network.
    """
    if isinstance(value, np.generic | np.ndarray):  # before float, from which np.float64 is derived
        value = value.tolist()
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, partial) and not value.args:
        return {"class_path": _path(value.func), "init_args": plain(value.keywords)}
    if isinstance(value, type) or isfunction(value):
        return {"class_path": _path(value)}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.init}
    raise TypeError(f"{type(value).__name__} is no plain value")


def _accepted(kind: type) -> set[str]:
    """Names of the arguments of a construction, those handed to bases by **kwargs included."""
    names = {"_class_path", "_instantiator"}
    for part in kind.__mro__:
        if "__init__" in vars(part):
            own = signature(part.__init__).parameters
            names |= own.keys()
            if not any(one.kind is one.VAR_KEYWORD for one in own.values()):
                break
    return names


def _path(part: Any) -> str:
    if "<" in getattr(part, "__qualname__", "<"):  # in a function, a lambda
        raise TypeError(f"{part} cannot be imported")
    return f"{part.__module__}.{part.__qualname__}"
