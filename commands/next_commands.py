"""Commands that the end of a `fit` prints: test or validate again, predict, evaluate and fine-tune a backbone."""

import shlex
from pathlib import Path
from typing import Any

import yaml

from commands.arguments import find_config, parse_known, read_yaml
from commands.overview import program
from datamodules import DataModule
from datamodules.setting_roles import roles_of
from tasks import Task

OWN = {
    "images": ("images", "UnlabeledImages", "FOLDER"),
    "videos": ("videos", "Videos", "FOLDER"),
    "sentence pairs": ("sentences", "TextFile", "FILE"),
}
"""For the noun of a data module's samples: the word for a user's own, the data module to predict them, its --root."""

GRAFT = "tasks/classification.yaml"


def next_commands(argv: list[str], folder: Path, task: Task, data: DataModule) -> list[str]:
    """Lines "next, PURPOSE: COMMAND" with the settings as typed, quoted for a shell.

    Args:
        argv: arguments of the `fit` as typed.
        folder: its run directory; `latest` stands for it where that leads to it.
        task: the trained one.
        data: what it was trained on.
    """
    link = folder.parent / "latest"
    run = str(link if link.exists() and link.resolve() == folder.resolve() else folder)
    if task.pretraining:
        graft = ["fit", "--config", GRAFT, "--model.weights", run, *_same_data(argv, data)]
        graft += _backbone(argv, task)
        return [
            f"next, evaluate features: {command_line('evaluate', '--ckpt_path', run)}",
            f"next, fine-tune:         {command_line(*graft)}",
            f"next, a linear probe:    {command_line(*graft, '--model.frozen', 'true')}",
        ]
    config = [word for path in parse_known(argv).config for word in ("--config", path)]
    noun, files, where = OWN[data.noun]
    own = ["--data", files, "--data.root", where]
    if task.generative:
        noun, own = "samples", ["--data", "LatentSamples", "--data.count", "100", "--seed_everything", "1"]
    split = next((split for split in ("test", "val") if data.has(split)), None)
    again = {"test": ("test", "test again:"), "val": ("validate", "validate again:")}.get(split)
    lines = [f"next, {again[1]:<17} {command_line(again[0], *config, '--ckpt_path', run)}"] if again else []
    return [*lines, f"next, your {noun + ':':<12} {command_line('predict', *config, '--ckpt_path', run, *own)}"]


def command_line(*words: str) -> str:
    """A command of this program, quoted for a shell."""
    return f"{program()} {shlex.join(words)}"


def typed_options(argv: list[str], name: str) -> dict[str, list[str]]:
    """Words of an option and of those below it, by name: `--data` is also `--data.root X` and `--data.root=X`."""
    found: dict[str, list[str]] = {}
    words = iter(argv)
    for word in words:
        option = word.partition("=")[0]
        if option == name or option.startswith(f"{name}."):
            value = [] if "=" in word else [next(words, "")]
            found[option] = [*found.get(option, ()), word, *value]
    return found


def _same_data(argv: list[str], data: DataModule) -> list[str]:
    """Options that give another task the same data: its location, and typed settings of its samples.

    Augmentations and views belong to the method; without labels the data set has to be another one.
    """
    typed = {o.removeprefix("--data.").removeprefix("init_args."): w for o, w in typed_options(argv, "--data").items()}
    if data.classes is None:
        return ["--data", "ImageFolder", "--data.root", "FOLDER", *typed.get("image_size", ())]
    kind, roles = type(data), roles_of(type(data))
    ours = kind.__module__.startswith("datamodules.")
    words = [] if ours and kind.__name__ == "Shapes" else ["--data", kind.__name__ if ours else _path(kind)]
    for name, role in roles.items():
        value = data.hparams.get(name)
        if role == "location" and value is not None:
            words += [f"--data.{name}", value if isinstance(value, str) else str(_plain(value))]
        elif role in ("input", "samples", "loading"):
            words += typed.get(name, ())
    return words


def _backbone(argv: list[str], task: Task) -> list[str]:
    """Options of the backbone as typed; else those that the YAML for fine-tuning does not already have."""
    typed = [*_words(argv, "--model.backbone"), *_words(argv, "--model.small_images")]
    if typed or task.backbone is None:
        return typed
    usual = read_yaml(find_config(GRAFT))["model"]["init_args"]
    words = [] if task.backbone.name == usual["backbone"] else ["--model.backbone", task.backbone.name]
    small = task.backbone.small_images
    return words + (["--model.small_images", "true"] if small and not usual.get("small_images") else [])


def _words(argv: list[str], name: str) -> list[str]:
    return [word for words in typed_options(argv, name).values() for word in words]


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _plain(value: Any) -> Any:
    return yaml.safe_dump(value, default_flow_style=True).strip() if isinstance(value, list | dict) else value
