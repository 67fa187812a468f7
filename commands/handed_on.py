"""Data settings that a checkpoint hands on to `validate`, `test`, `predict` and `evaluate`, each by its role."""

import inspect
import re
from typing import Any

from jsonargparse import Namespace

from commands.arguments import class_of, parse_known, read_yaml
from commands.setting_types import Part, find_class
from datamodules import DataModule
from datamodules.setting_roles import Role, default, roles_of
from modules.contracts import ConfigError

FOLDS = {"folds": 0, "held_out_fold": 0, "fold_groups": None}
"""Settings of a cross-validation, and their values without one."""
ALWAYS: tuple[Role, ...] = ("input", "loading")
SAME_DATA: tuple[Role, ...] = ("location", "samples")


def handed_on(known: dict[str, Any], argv: list[str]) -> dict[str, Any]:
    """Data settings of a checkpoint that hold for a command, as `class_path` and `init_args`.

    Settings of the roles in `ALWAYS` go to any data that has the same setting in the same role, those in `SAME_DATA`
    only to the very data of the training: the same class, with no other location typed. Settings for training alone
    get their defaults back, whatever a YAML says.

    Args:
        known: `class_path` and `init_args` of the data that the checkpoint was trained on; empty if unknown.
        argv: the arguments as typed.
    """
    typed_class, typed = typed_data(argv)
    trained = find_data(known["class_path"]) if known else None
    asked = find_data(typed_class) if typed_class else trained
    if trained is None or asked is None:
        return {} if typed_class else known  # a class from elsewhere, which the parser finds or refuses
    theirs, ours = roles_of(trained), roles_of(asked)
    moved = any(ours.get(name) == "location" for name in typed)
    roles = ALWAYS if moved or asked is not trained else ALWAYS + SAME_DATA
    kept = {
        name: value
        for name, value in known["init_args"].items()
        if name in ours and ours[name] == theirs.get(name) and ours[name] in roles
    }
    reset = {name: default(asked, name) for name, role in ours.items() if role == "training"}
    class_path = known["class_path"] if asked is trained else typed_class
    return {"class_path": class_path, "init_args": kept | reset}


def typed_data(argv: list[str]) -> tuple[str | None, set[str]]:
    """The data module's class and the names of its settings, as typed; null for no class.

    A class is typed as `--data NAME`, `--data.class_path NAME`, or within a YAML file or text that `--data` takes.
    """
    options = {match[1] for word in argv if (match := re.match(r"--data\.(?:init_args\.)?(\w+)", word))}
    name, names = class_of(read_yaml(parse_known(argv).data or ""))
    return name, (names | options) - {"class_path", "init_args"}


def find_data(name: str) -> type[DataModule] | None:
    """A data module by its name or import path; null if there is none."""
    try:
        found = find_class(name, Part(DataModule)).base
    except LookupError:
        return None
    return found if inspect.isclass(found) and issubclass(found, DataModule) else None


def check_folds(command: str, data: Namespace, known: dict[str, Any]) -> None:
    """Refuse other folds than those of a checkpoint, whose training had the samples of all but the one held out.

    Without folds, `data` loses the checkpoint's other settings of them: the data's own test set is no part of any.

    Args:
        command: fit (resumed), validate, test, predict or evaluate.
        data: settings of the command's data, `class_path` and `init_args`, which are changed.
        known: those of the checkpoint; empty without one.

    Raises:
        ConfigError: names the setting.
    """
    own, then = data.init_args, known.get("init_args", {})
    if "folds" not in own:
        return
    if not own.folds and command != "fit":
        for name in (name for name, value in FOLDS.items() if own.get(name) == then.get(name, value)):
            own[name] = FOLDS[name]
        return
    find = find_data(data.class_path)
    places = [name for name, role in roles_of(find).items() if role == "location"] if find else []
    same = data.class_path == known.get("class_path") and all(own.get(name) == then.get(name) for name in places)
    if not same or command not in ("fit", "validate", "test"):
        return
    for name, value in FOLDS.items():
        if own.get(name) != (old := then.get(name, value)):
            raise ConfigError(
                f"data.{name} is {own.get(name)}, but the checkpoint was trained with {old}, so that it may have seen "
                f"what would be tested: leave --data.{name} out"
            )
