"""Commands that the end of another prints: test or validate, predict, evaluate and fine-tune a backbone."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from commands.arguments import find_config, once, parse_known, read_yaml, run_name, typed_options, without
from commands.handed_on import ALWAYS, find_data
from commands.overview import program
from commands.trained import typed_texts
from datamodules import DataModule
from datamodules.base import Split
from datamodules.images import TaggedImages
from datamodules.setting_roles import default, roles_of
from modules.contracts import ConfigError
from modules.export import check_exportable
from modules.training.metadata import built_by
from modules.training.transfer import describe
from modules.training.trusted import OWN as OWN_CODE
from tasks import Detection, Task

OWN = {
    "images": ("images", "UnlabeledImages", "FOLDER"),
    "videos": ("videos", "Videos", "FOLDER"),
    "sentence pairs": ("sentences", "TextFile", "FILE"),
}
"""For the noun of a data module's samples: the word for a user's own, the data module to predict them, its --root."""

EVALUATE: dict[Split, str] = {"test": "test", "val": "validate"}
"""The command for a split."""

LABELED = {"label": "ImageFolder", "tags": "ImageTags", "boxes": "DetectionFolder", "mask": "SegmentationFolder"}
LABELED |= {"segments": "PanopticFolder"}
"""For what a task on images learns from: the data module of a user's own."""

OF_METHOD = ("views", "local_views", "local_size", "local_crop", "crop", "augment", "augment_device")
"""Settings of the data that belong to a pretraining method."""

Command = tuple[str, list[str]]
"""A purpose and the words of a command."""


def next_commands(argv: list[str], folder: Path, task: Task, data: DataModule) -> list[str]:
    """Lines "next, PURPOSE: COMMAND" with the settings as typed, quoted for a shell.

    Args:
        argv: arguments of the command as typed.
        folder: its run directory; after a `fit`, `latest` stands for it where that leads to it.
        task: the trained one.
        data: what the command read.
    """
    found = _after_fit(argv, folder, task, data) if argv[0] == "fit" else _after_others(argv, task, data)
    width = max((len(purpose) for purpose, _ in found), default=0) + 1
    return [f"next, {purpose + ':':<{width}} {command_line(*words)}" for purpose, words in found]


def _after_fit(argv: list[str], folder: Path, task: Task, data: DataModule) -> list[Command]:
    link = folder.parent / "latest"
    run = str(link if link.exists() and link.resolve() == folder.resolve() else folder)
    if task.pretraining:
        evaluate = ["evaluate", *_naming_code(argv, [], run), "--ckpt_path", run]
        return [("evaluate features", evaluate), *_fine_tune(argv, run, task, data)]
    trained = [*_naming_code(argv, _configs(argv), run), "--ckpt_path", run]
    command = next((command for split, command in EVALUATE.items() if data.has(split)), None)
    again = [(f"{command} again", [command, *trained])] if command else []
    whole = ["--model.patch_size", "null"] if getattr(task, "patch_size", None) else []  # no file has a sliding window
    exported = [("export", ["export", *trained, *whole])] if _has_export(task) else []
    return [*again, *_predict(trained, task, data, []), *exported]  # whose settings the checkpoint knows


def _has_export(task: Task) -> bool:
    if isinstance(task, Detection):
        try:
            check_exportable(task.head, task.tiled)
        except ConfigError:
            return False
    return type(task).graphs is not Task.graphs


def _after_others(argv: list[str], task: Task, data: DataModule) -> list[Command]:
    """Next commands of one that worked with a checkpoint, or with a published classifier."""
    command, run = argv[0], parse_known(argv).ckpt_path
    weights = f"runs/{run_name(argv)}/latest" if run == "latest" else run
    if command == "evaluate" or (task.pretraining and weights):
        return _fine_tune(argv, weights, task, data)
    weights_of = ["--ckpt_path", run] if run else _words(argv, "--onnx")
    trained = [*_configs(argv), *weights_of, *_words(argv, "--model")]
    if command != "predict":
        unseen = command == "validate" and data.has("test")
        test = [("test", ["test", *trained, *_words(argv, "--data")])] if unseen else []
        return [*test, *_predict(trained, task, data, argv)]
    again = without(argv, "--run_dir")
    if task.generative:
        return [("other samples", once([*again, "--seed_everything", str(data.seed + 1)]))]
    search: Any = getattr(task, "search", None)
    if run and search and search.num_return_sequences == 1 < search.num_beams:  # part of an exported file
        return [("alternatives", once([*again, "--model.search.num_return_sequences", "2"]))]
    if not weights or not any(key in task.required_keys for key in LABELED):
        return []
    configs = _configs(argv) or ["--config", _yaml(task)]
    labeled = [*_labeled(argv, task), *_backbone(argv, task, configs[-1])]
    return [("your own labels", ["fit", *configs, "--model.weights", weights, *labeled])]


def _predict(trained: list[str], task: Task, data: DataModule, argv: list[str]) -> list[Command]:
    """Predict a user's own samples by a trained task, given by its options, as the samples of a command are read."""
    if task.generative:
        own = ["--data", "LatentSamples", "--data.count", "100", "--seed_everything", "1"]
        return [("your samples", ["predict", *trained, *own])]
    if data.noun not in OWN:  # of another program
        return []
    noun, files, where = OWN[data.noun]
    own = ["--data", files, "--data.root", where, *_typed_data(argv, files)]
    return [(f"your {noun}", ["predict", *trained, *own])]


def _labeled(argv: list[str], task: Task) -> list[str]:
    """Options of a user's own data with the labels that a task learns from, read as typed."""
    labels = next((kind for key, kind in LABELED.items() if key in task.required_keys), "ImageFolder")
    kind = "VideoFolder" if "video" in task.required_keys else labels
    points = ["--data.keypoints", "true"] if "keypoints" in task.required_keys else []
    return once(["--data", kind, "--data.root", "FOLDER", *points, *_typed_data(argv, kind)])


def _fine_tune(argv: list[str], run: str | None, task: Task, data: DataModule) -> list[Command]:
    """Train a classifier on the same data, from the backbone of a run; pixels have none, and null instead."""
    several = isinstance(data, TaggedImages) and data.tagged
    of_images = "tasks/multilabel_classification.yaml" if several else "tasks/classification.yaml"
    yaml = "tasks/video.yaml" if "video" in task.required_keys else of_images
    weights = ["--model.weights", run] if run else []
    fusion = ["--model.fusion", "mean"] if task.backbone is not None and task.backbone.temporal else []
    same = _same_data(argv, task, data, yaml)
    graft = ["fit", "--config", yaml, *weights, *same, *_backbone(argv, task, yaml), *fusion]
    if not run:
        return [("a linear classifier", graft)]
    return [("fine-tune", graft), ("a linear probe", [*graft, "--model.frozen", "true"])]


def _configs(argv: list[str]) -> list[str]:
    latest = [*dict.fromkeys(reversed(parse_known(argv).config))]
    return [word for path in reversed(latest) for word in ("--config", path)]


def _naming_code(argv: list[str], configs: list[str], run: str) -> list[str]:
    """The --config options; that of the run alone where they do not name all code from elsewhere that was typed."""
    for text in typed_texts(argv) - typed_texts(configs):
        module, _, name = text.rpartition(".")
        if hasattr(sys.modules.get(module), name) and module.partition(".")[0] not in (*OWN_CODE, "torch", "timm"):
            return ["--config", str(Path(run) / "config.yaml")]
    return configs


def _yaml(task: Task) -> str:
    """The YAML of a task of ours: `tasks/semantic_segmentation.yaml` of SemanticSegmentation."""
    return f"tasks/{re.sub('(?<!^)(?=[A-Z])', '_', type(task).__name__).lower()}.yaml"


def command_line(*words: str) -> str:
    """A command of this program, quoted for a shell."""
    return f"{program()} {shlex.join(words)}"


def _same_data(argv: list[str], task: Task, data: DataModule, config: str) -> list[str]:
    """Options that give another task the same data: its location and samples, and the settings to read them.

    Augmentations and views belong to the method; without labels the data set has to be another one.
    """
    if data.classes is None:
        return _labeled(argv, task) + _read_as(argv, data, config)
    kind = type(data)
    ours = kind.__module__.startswith("datamodules.")
    built_in = ours and kind.__name__ == "Shapes"
    words = [] if built_in else ["--data", kind.__name__ if ours else _path(kind)]
    for name, role in roles_of(kind).items():
        value = data.hparams.get(name)
        chosen = role == "samples" and value != default(kind, name) and isinstance(value, str | int | float | list)
        if chosen or (role == "location" and value is not None):
            words += [f"--data.{name}", value if isinstance(value, str) else json.dumps(value)]
    return words + _typed_data(argv, _path(kind)) + ([] if built_in else _read_as(argv, data, config))


def _read_as(argv: list[str], data: DataModule, config: str) -> list[str]:
    """Settings by which data is read, such as the image size, that were not typed and differ from those of a YAML."""
    usual, typed, kind, words = _init_args(config, "data"), typed_options(argv, "--data"), type(data), list[str]()
    for name, role in roles_of(kind).items():
        value = data.hparams.get(name)
        own = role == "input" and name not in OF_METHOD and f"--data.{name}" not in typed
        if own and value != usual.get(name, default(kind, name)) and isinstance(value, str | int | float | list):
            words += [f"--data.{name}", value if isinstance(value, str) else json.dumps(value)]
    return words


def _typed_data(argv: list[str], data: str) -> list[str]:
    """Typed settings of preprocessing and loading that a data module takes too, given by its name or path."""
    roles = roles_of(find_data(data) or DataModule)
    typed = {option.removeprefix("--data."): words for option, words in typed_options(argv, "--data").items()}
    names = [name for name in typed if roles.get(name.partition(".")[0]) in ALWAYS and name not in OF_METHOD]
    return [word for name in names for word in typed[name]]


def _backbone(argv: list[str], task: Task, config: str) -> list[str]:
    """Options of the backbone as typed; else those that `config`, a YAML for fine-tuning, does not already have."""
    typed = [word for name in ("backbone", "small_images", "in_channels") for word in _words(argv, f"--model.{name}")]
    if task.backbone is None:
        return typed
    changed = [word for layer, kind in task.backbone.changed.items() for word in (f"--model.{layer}", kind)]
    if "--model.backbone" in typed_options(argv, "--model.backbone") or (typed and not task.backbone.arguments):
        return typed + changed
    usual = _init_args(config, "model")
    if task.backbone.arguments:  # of a YAML that builds it by class_path
        return built_by(describe(task.backbone)) + changed
    words = [] if task.backbone.name == usual.get("backbone") else ["--model.backbone", task.backbone.name]
    small = task.backbone.small_images
    return words + (["--model.small_images", "true"] if small and not usual.get("small_images") else []) + changed


def _init_args(config: str, section: str) -> dict[str, Any]:
    """Settings that a YAML gives the class of a section."""
    given = (read_yaml(find_config(config)) or {}).get(section)
    return given.get("init_args", {}) if isinstance(given, dict) else {}


def typed_settings(argv: list[str]) -> list[str]:
    """Typed settings of the data and the task."""
    return _words(argv, "--data") + _words(argv, "--model")


def _words(argv: list[str], name: str) -> list[str]:
    return [word for words in typed_options(argv, name).values() for word in words]


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
