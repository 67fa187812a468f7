"""Checks of settings that the parser, or Lightning, lets pass and that fail later."""

import inspect
import math
import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any, get_args

from jsonargparse import Namespace
from lightning.pytorch.callbacks import Timer

from commands.arguments import without
from commands.given_settings import given_settings
from commands.setting_types import lacks, no_group, parts
from datamodules.setting_roles import roles_of
from modules.contracts import ConfigError, check_range
from modules.contracts.kinds import parameter
from modules.training.precision import AUTO, unified
from tasks import Task

LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "gradient_clip_val": 0,
    "min_epochs": 0,
    "min_steps": 0,
    "num_sanity_val_steps": -1,
}
"""Least value of settings of the trainer."""
FLOAT32 = (None, "null", AUTO, "32-true")
"""Precisions that leave the choice to a command that computes in float32 alone."""
OPTIMIZER = re.compile(r"--model\.(?P<optim>\w*optim)\.optimizer\.(init_args\.)?(?P<name>lr|weight_decay|betas)(=|$)")
"""Options of an optimizer that `Optim` has settings of its own for."""


def check_settings(settings: Namespace, typed: list[str]) -> None:
    """Check the settings of a whole command before anything is built.

    Args:
        settings: as parsed.
        typed: words of the command line.

    Raises:
        ConfigError: names the setting.
    """
    check_sections(settings)
    for name in ("model", "data", "checkpoint", "figures", "predictions"):
        check_finite(name, settings[name])
    for name in ("model", "data"):
        check_classes(name, settings[name])
    check_locations(settings.model, settings.data)
    check_optimizers(settings.model, typed)


def check_finite(name: str, value: Any) -> None:
    """Refuse nan and infinity, which YAML knows as .nan and .inf.

    Args:
        name: of the setting.
        value: of it; settings and lists are followed.

    Raises:
        ConfigError: names the setting.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name.replace('.init_args', '')} is {value}, but must be a finite number")
    parts = vars(value) if isinstance(value, Namespace) else value if isinstance(value, dict) else {}
    if isinstance(value, list | tuple):
        parts = dict(enumerate(value))
    for key, part in parts.items():
        check_finite(f"{name}.{key}", part)


def check_float32(command: str, typed: Sequence[str]) -> None:
    """Check that no other precision is typed for a command that computes in float32 alone.

    Args:
        command: its name.
        typed: words of the command line; those in YAML files of --config are of the run, and left out.

    Raises:
        ConfigError: one is typed.
    """
    for setting in given_settings(without(list(typed), "--config", "-c")):
        if setting.name == "trainer.precision" and unified(setting.value) not in FLOAT32:
            raise ConfigError(
                f"--trainer.precision is {setting.value}, but {command} computes in float32: leave it out"
            )


def check_trainer(config: dict[str, Any], task: Task) -> None:
    """Refuse trainer settings that Lightning accepts silently and fails on later.

    Args:
        config: the trainer's settings.
        task: the task to train.

    Raises:
        ConfigError: names the setting and what to do.
    """
    for name, what in {"train": "trained", "predict": "predicted"}.items():
        if config[f"limit_{name}_batches"] == 0:
            raise ConfigError(f"trainer.limit_{name}_batches is 0, so nothing would be {what}: leave it out")
    for name, value in LEAST.items():
        if config[name] is not None and not isinstance(config[name], str):
            check_range(f"trainer.{name}", config[name], value)
    _check_length(config)
    if config["overfit_batches"]:
        raise ConfigError(
            "trainer.overfit_batches takes the data's own order away: set --data.num_labels to a small number"
        )
    precision = str(config["precision"])
    if task.float32 and precision in ("64", "64-true", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision is {precision}, but {type(task).__name__} has its weights in float32: take 32, "
            f"bf16-mixed or 16-mixed"
        )


def _check_length(config: dict[str, Any]) -> None:
    """Refuse a training without steps, without end, or with an end before `min_epochs`; -1 is no limit."""
    epochs, steps = config["max_epochs"], config["max_steps"]
    for name, value in (("max_epochs", epochs), ("max_steps", steps)):
        if value is not None and (value == 0 or value < -1):
            raise ConfigError(f"trainer.{name} is {value}, so nothing would be trained: leave it out or raise it")
    if epochs == -1 and steps == -1:
        raise ConfigError("trainer.max_epochs is -1, so training would not end: set it or trainer.max_steps")
    if epochs is not None and 0 < epochs < (config["min_epochs"] or 0):
        raise ConfigError(f"trainer.min_epochs is {config['min_epochs']}, but trainer.max_epochs is {epochs}")
    if config["max_time"] is not None and not Timer(config["max_time"]).time_remaining():
        raise ConfigError(f"trainer.max_time is {config['max_time']}, so nothing would be trained: leave it out")
    if config["val_check_interval"] == 0:
        raise ConfigError("trainer.val_check_interval is 0, but must be above 0: leave it out for each epoch's end")


def check_seed(seed: int) -> None:
    """Refuse a seed that no generator takes.

    Raises:
        ConfigError: names it.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed_everything is {seed}, but a seed is a whole number from 0 to {2**32 - 1}")


def check_classes(name: str, settings: Any) -> None:
    """Refuse classes that are abstract, and values that settings of classes do not take; the parser lets them pass.

    Args:
        name: of the setting.
        settings: its value; classes in it are followed.

    Raises:
        ConfigError: names the setting.
    """
    if isinstance(settings, list):
        for part in settings:
            check_classes(name, part)
    if not isinstance(settings, Namespace) or "class_path" not in settings:
        return
    cls = _class_of(settings)
    if lacking := lacks(cls):
        raise ConfigError(f"{name} is {_name_of(settings)}, but {lacking}")
    for key, value in vars(settings.get("init_args", Namespace())).items():
        kind, default = parameter(cls, key)
        if value is not None:
            if is_dataclass(kind) and not isinstance(value, Namespace | dict | kind):
                raise ConfigError(no_group(f"{name}.{key}", value))
            _check_factory(f"{name}.{key}", value, kind)
        elif not (default is None or kind is Any or type(None) in get_args(kind)):
            raise ConfigError(
                f"{name}.{key} is null, but it needs a value: give it one, or leave it out for the default"
            )
        check_classes(f"{name}.{key}", value)


def check_locations(model: Namespace, data: Namespace) -> None:
    """Refuse empty text for paths: as the location of data it would be the working directory, as weights none.

    Args:
        model: settings of the task.
        data: settings of its data.

    Raises:
        ConfigError: names the setting.
    """
    roles = roles_of(_class_of(data))
    paths = {f"data.{name}": data.init_args.get(name) for name, role in roles.items() if role == "location"}
    paths |= {f"model.{name}": model.init_args.get(name) for name in ("weights", "self_critical")}
    for name, path in paths.items():
        if path == "":
            raise ConfigError(f"{name} is empty: give it a path, or leave it out")


def check_sections(settings: Namespace) -> None:
    """Refuse a value in place of the settings of a section, which the parser lets pass in a YAML.

    Raises:
        ConfigError: names the section.
    """
    for name in ("trainer", "checkpoint", "figures", "predictions"):
        if not isinstance(settings[name], Namespace):
            raise ConfigError(no_group(name, settings[name]))


def check_optimizers(model: Namespace, typed: list[str]) -> None:
    """Refuse typed settings of an optimizer that would not count, because the task has a value of its own for them.

    Args:
        model: settings of the task.
        typed: words of the command line.

    Raises:
        ConfigError: names the setting, and the task's.
    """
    for word in typed:
        if found := OPTIMIZER.match(word):
            optim, name = found["optim"], found["name"]
            value = model.init_args[optim].get(name)
            if value is not None:
                raise ConfigError(
                    f"{word.partition('=')[0]} would not count, because model.{optim}.{name} is {value}: "
                    f"type --model.{optim}.{name} in its place"
                )


def _check_factory(name: str, value: Any, kind: Any) -> None:
    """Refuse a class that lacks the parameters that the program gives, such as features and outputs of a head."""
    given = max((part.given for part in parts(kind)), default=0)
    if not given or not isinstance(value, Namespace) or "class_path" not in value:
        return
    try:
        inspect.signature(_class_of(value)).bind_partial(*[None] * given)
    except TypeError:
        raise ConfigError(
            f"{name} is {_name_of(value)}, but does not take the {given} arguments that come first"
        ) from None
    except ValueError:  # a built-in class has no signature
        return


def _class_of(settings: Namespace) -> Any:
    """The class, or the function, that `class_path` names."""
    module, _, name = settings.class_path.rpartition(".")
    return getattr(import_module(module), name)


def _name_of(settings: Namespace) -> str:
    return settings.class_path.rpartition(".")[2]
