"""Reference pages: every setting of every class as the command line explains it, and every metric's protocol."""

import inspect
from argparse import SUPPRESS, Action
from collections.abc import Iterable
from pathlib import Path

import lightning.pytorch  # noqa: F401  # before libraries whose Union[float, int] typing would hand on
from jsonargparse import ArgumentParser, Namespace

import callbacks
import datamodules
import modules.decoding
import modules.heads
import modules.necks
import modules.temporal
import tasks
from tasks import Task

Classes = dict[str, type]


def write_reference(folder: Path) -> None:
    """Write `tasks.md`, `data.md`, `networks.md`, `callbacks.md` and `metrics.md`."""
    folder.mkdir(exist_ok=True)
    shown = _classes([tasks])
    pages = {
        "tasks": ("Settings of tasks", "model", shown),
        "data": ("Settings of data", "data", _classes([datamodules])),
        "networks": (
            "Settings of heads and necks",
            "model.head",
            _classes([modules.heads, modules.necks, modules.temporal]),
        ),
        "callbacks": ("Settings of callbacks", "trainer.callbacks", _classes([callbacks])),
    }
    for name, (title, prefix, classes) in pages.items():
        (folder / f"{name}.md").write_text(_settings(title, prefix, classes), encoding="utf-8")
    (folder / "metrics.md").write_text(_metrics(shown), encoding="utf-8")


def _classes(packages: Iterable) -> Classes:
    """Public classes with settings, by name."""
    found = {name: vars(package)[name] for package in packages for name in package.__all__}
    return {
        name: found[name]
        for name in sorted(found, key=str.lower)
        if inspect.isclass(found[name])
        and not issubclass(found[name], BaseException | tuple)
        and _rows(found[name], "x")
    }


def actions(cls: type, prefix: str) -> list[Action]:
    """Parser actions of the settings of a class."""
    parser = ArgumentParser(add_help=False)
    parser.add_class_arguments(cls, prefix, fail_untyped=False)
    return parser._actions  # argparse has no public list of them


def _rows(cls: type, prefix: str) -> list[str]:
    """A table row for each setting of a class: option, default, explanation."""
    rows = []
    for action in actions(cls, prefix):
        option = action.option_strings[0] if action.option_strings else ""
        if action.dest == prefix or option.endswith(".help") or action.default == SUPPRESS:  # the latter opens a group
            continue
        default = action.default.as_dict() if isinstance(action.default, Namespace) else action.default
        default = "null" if default is None else str(default)
        rows.append(f"| `{option}` | `{_cell(default)}` | {_cell(action.help or '')} |")
    return rows


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").replace("%%", "%").split())


def _settings(title: str, prefix: str, classes: Classes) -> str:
    parts = [f"# {title}\n\nWritten from the parser, as `--help` explains them.\n"]
    for name, cls in classes.items():
        words = inspect.cleandoc(cls.__doc__ or "").split("\n\nArgs:")[0].split("\n\nRaises:")[0]
        table = "\n".join(["| setting | default | |", "|---|---|---|", *_rows(cls, prefix)])
        parts.append(f"## {name}\n\n{words}\n\n{table}\n")
    return "\n".join(parts)


def _metrics(shown: Classes) -> str:
    """Protocol of every metric of every task that knows them before it is built."""
    parts = [
        "# Metrics\n\n"
        "Protocol of each metric, as in the table that ends a run; those that follow from settings stand there only.\n"
    ]
    for name, cls in shown.items():
        if issubclass(cls, Task) and isinstance(getattr(cls, "protocols", None), dict) and cls.protocols:
            rows = [f"| `{metric}` | {words.replace('|', '/')} |" for metric, words in cls.protocols.items()]
            parts.append(
                f"## {name}\n\nMonitor: `{cls.monitor}`, {cls.mode}.\n\n| metric | protocol |\n|---|---|\n"
                + "\n".join(rows)
                + "\n"
            )
    return "\n".join(parts)
