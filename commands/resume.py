"""Settings of a resumed run beside those of the run that was stopped."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_only

from callbacks.terminal import print_line
from commands.arguments import flatten
from commands.setting_checks import check_float32
from commands.trained import Trained
from commands.yaml_text import read_settings
from modules.contracts import DataError, writing
from modules.training.precision import AUTO, choose, detect, unified


def settings_before(trained: Trained) -> dict[str, Any]:
    """Settings of the run that is resumed, as its config.yaml has them; those in the checkpoint win.

    Raises:
        DataError: that file is damaged.
    """
    file = trained.path.parent.parent / "config.yaml"
    return (read_settings(file, DataError) if file.exists() else {}) | trained.settings


def write_settings(path: Path, command: str, text: str, settings: dict[str, Any], trained: Trained | None) -> bool:
    """Write config.yaml; another one there, of the run that is resumed, is kept as config_until_epoch_N.yaml.

    Args:
        path: of the file.
        command: as typed, which becomes its first line.
        text: the settings as YAML.
        settings: the same, read.
        trained: the checkpoint that is resumed, if any.

    Returns:
        False if the file was there with these settings.
    """
    if path.exists():
        if read_settings(path, DataError) == settings:
            return False
        with writing(path):
            path.replace(path.with_name(f"config_until_epoch_{trained.epoch + 1 if trained else 0}.yaml"))
    with writing(path):
        path.write_text(f"# {command}\n{text}")
    return True


def choose_precision(trainer: Namespace, before: dict[str, Any], file: str = "", typed: Sequence[str] = ()) -> str:
    """Replace precision `auto` by the precision chosen here, so that config.yaml reproduces the run anywhere.

    Args:
        trainer: its settings, which are changed.
        before: settings of the run that is resumed, whose precision is kept; empty for others.
        file: that answers in place of the network, with its own precision; torch computes the metrics alone.
        typed: the command as typed; `explain` computes in float32.

    Returns:
        The reason for the precision.

    Raises:
        ConfigError: another one is typed for a command that has its own.
    """
    if typed[:1] == ["explain"]:
        check_float32("explain", typed)
        trainer.precision = "32-true"
        return "for the maps" + f"; {file}" * bool(file)
    if file:
        trainer.precision = "32-true"
        return f"for the metrics; {file}"
    if trainer.precision == AUTO and trainer.plugins:
        return "as trainer.plugins have it"  # they may hold one; the trainer looks
    kind = trainer.accelerator if isinstance(trainer.accelerator, str) else trainer.accelerator.class_path
    kind = kind.rpartition(".")[2].removesuffix("Accelerator").lower()
    ran = before.get("trainer")
    known = unified(ran.get("precision") if isinstance(ran, dict) else None)
    trainer.precision, reason = choose(trainer.precision, kind, detect(), known)
    return reason


@rank_zero_only
def print_changes(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Print the settings in which a resumed run differs from the run that was stopped.

    Args:
        now: settings as config.yaml has them.
        before: those of the run that was stopped.
    """
    then, now = flatten(before, skip="init_args"), flatten(now, skip="init_args")
    if "trainer.precision" in then:
        then["trainer.precision"] = unified(then["trainer.precision"])
    linked = ("model.weights", "model.init_from", "model.classes", "model.tokenizers")  # `link` compares the last two
    linked += ("model.channels", "model.in_channels", "model.backbone.in_channels")  # and keeps these
    filled = ("data.value_range", *(f"model.{name}" for name in ("image_size", "frames", "tokenize")))  # where null
    for key, old in then.items():
        new = now.get(key, now.get(f"{key}.class_path"))
        if json.dumps(new, default=str) == json.dumps(old, default=str):  # tuples are saved as lists
            continue
        if key in ("model.weights", "model.init_from") and new:
            print_line(f"resuming with the checkpoint's weights, not with {key} = {new}")
        elif key not in linked and not (new is None and key in filled):
            print_line(f"resuming with {key} = {new} (the checkpoint had {old})")
