"""Checks of settings that the parser, or Lightning, lets pass and that fail later."""

import inspect
from importlib import import_module
from typing import Any, get_args, get_type_hints

from jsonargparse import Namespace

from datamodules.setting_roles import roles_of
from modules.contracts import ConfigError
from tasks import Task


def check_trainer(config: dict[str, Any], task: Task) -> None:
    """Refuse trainer settings that Lightning accepts silently and fails on later.

    Args:
        config: the trainer's settings.
        task: the task to train.

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
            "trainer.overfit_batches takes the data's own order away: set --data.num_labels to a small number"
        )
    precision = str(config["precision"])
    if task.float32 and precision in ("64", "64-true", "16-true", "bf16-true"):
        raise ConfigError(
            f"trainer.precision is {precision}, but {type(task).__name__} has its weights in float32: take 32, "
            f"bf16-mixed or 16-mixed"
        )


def check_nulls(name: str, settings: Any) -> None:
    """Refuse null for settings of classes that take none; the parser lets it pass.

    Args:
        name: of the setting.
        settings: its value; classes in it are followed.

    Raises:
        ConfigError: names the setting.
    """
    if isinstance(settings, list):
        for part in settings:
            check_nulls(name, part)
    if not isinstance(settings, Namespace) or "class_path" not in settings:
        return
    module, _, cls = settings.class_path.rpartition(".")
    for key, value in vars(settings.get("init_args", Namespace())).items():
        if value is None and not _takes_null(getattr(import_module(module), cls), key):
            raise ConfigError(
                f"{name}.{key} is null, but it needs a value: give it one, or leave it out for the default"
            )
        check_nulls(f"{name}.{key}", value)


def check_locations(model: Namespace, data: Namespace) -> None:
    """Refuse empty text for paths: as the location of data it would be the working directory, as weights none.

    Args:
        model: settings of the task.
        data: settings of its data.

    Raises:
        ConfigError: names the setting.
    """
    module, _, cls = data.class_path.rpartition(".")
    roles = roles_of(getattr(import_module(module), cls))
    paths = {f"data.{name}": data.init_args.get(name) for name, role in roles.items() if role == "location"}
    paths |= {f"model.{name}": model.init_args.get(name) for name in ("weights", "self_critical")}
    for name, path in paths.items():
        if path == "":
            raise ConfigError(f"{name} is empty: give it a path, or leave it out")


def _takes_null(cls: Any, key: str) -> bool:
    """True where an argument may be null, by its type and default where a class or a function names it."""
    for owner in inspect.getmro(cls) if inspect.isclass(cls) else (cls,):
        init = vars(owner).get("__init__") if inspect.isclass(owner) else owner
        found = inspect.signature(init).parameters.get(key) if inspect.isfunction(init) else None
        if found is not None:
            kinds = get_type_hints(init).get(key, Any)
            return found.default is None or kinds is Any or type(None) in get_args(kinds)
    return True
