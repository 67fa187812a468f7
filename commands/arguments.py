"""Command-line arguments before parsing: values of options, and names that follow from them."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from modules.contracts import ConfigError

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


def flatten(tree: dict[str, Any], prefix: str = "", skip: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} to {"a.b": 1}; keys called `skip` leave no trace in the names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = prefix.removesuffix(".") if key == skip else f"{prefix}{key}"
        flat |= flatten(value, f"{name}.", skip) if isinstance(value, dict) and value else {name: value}
    return flat
