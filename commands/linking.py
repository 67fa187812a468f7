"""Linking of data to model: classes, channels, clip length, vocabularies, image size before it is built, then views."""

from collections.abc import Set
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from datamodules import DataModule
from datamodules.text.text_data import TextData
from modules.backbones import class_of, takes_channels
from modules.contracts import ConfigError, DataError
from modules.contracts.keypoints import KeypointLayout
from modules.text.tokenizer import Tokenizer
from tasks import Task, VisionTask


def link(
    settings: Namespace, data: DataModule, known: dict[str, Any], checkpoint: Path | None, judging: bool = False
) -> None:
    """Fill in the model's arguments that follow from the data.

    Args:
        settings: of a command; `model.init_args` is changed.
        data: the data module built from `settings.data`.
        known: the arguments that the model of a checkpoint was built with.
        checkpoint: its file, for messages.
        judging: true for `evaluate`, which scores features and accepts data of any classes.

    Raises:
        ConfigError: what was typed cannot go with the data.
        DataError: what a checkpoint knows cannot.
    """
    args, given = settings.model.init_args, settings.data.init_args
    if "classes" in args and data.classes is not None and not (judging and args.classes is not None):
        typed = None if args.classes == known.get("classes") else args.classes
        trained = f"the checkpoint {checkpoint}" if checkpoint else "the exported file"
        args.classes = _classes(typed or known.get("classes"), list(data.classes), None if typed else trained)
    if "things" in args:
        named = (args.things, known.get("things"), data.things)  # the task refuses others than the data's
        args.things = next((one for one in named if one is not None), None)
    if "keypoints" in args:
        _see_keypoints(args, known, data.data_info().keypoints)
    if "frames" in args and given.get("frames") is not None:
        args.frames = _frames(args.frames, given.frames, checkpoint)
    if given.get("channels") == 1:
        _see_gray(args, known)
    if "tokenizers" in args:
        name = settings.model.class_path.rpartition(".")[2]
        args.tokenizers = _tokenizers(args.tokenizers or known.get("tokenizers"), data, name)
    if "tokenize" in args and isinstance(data, TextData):
        data.judge_by(args.tokenize, args.lowercase)
        args.tokenize = args.tokenize or data.tokenize
    # generators are built for one image size
    if "image_size" in args and args.image_size is None and isinstance(given.get("image_size"), int):
        args.image_size = given.image_size


def check_views(task: Task, data: DataModule) -> None:
    """Check that the data gives images for a task on images, with as many views as it trains on, in fitting sizes.

    Raises:
        ConfigError: it does not.
    """
    if isinstance(task, VisionTask) and data.noun == "videos" and "video" not in task.required_keys:
        method = "video_simclr" if task.pretraining else "video"
        raise ConfigError(
            f"{type(task).__name__} takes images, but {type(data).__name__} gives videos: choose --data VideoFrames, "
            f"or --config tasks/{method}.yaml"
        )
    (least, most), given = task.views, data.view_count
    if not least <= given <= most:
        wanted = f"{least}{' or more' if most > least else ''} view{'s' * (most > 1)}"
        local = " and --data.local_views 0" if len(data.sides) > 1 else ""
        raise ConfigError(
            f"{type(task).__name__} trains on {wanted} of each image, but the data gives {given}: "
            f"set --data.views {least}{local}"
        )
    if isinstance(task, VisionTask):
        task.check_sides(data.sides)


def set_whole_images(task: Task, data: DataModule, command: str, typed: Set[str]) -> None:
    """Let the data give whole images where the task sees them, to `predict` in their own size if the task asks for it.

    Args:
        task: built.
        data: not yet set up.
        command: at hand.
        typed: names of the data's settings that the user typed; `image_size` is one that wins.
    """
    data.set_letterbox(task.letterbox)
    if task.original_size and command == "predict" and "image_size" not in typed:
        data.set_original_size()


def _see_gray(args: Namespace, known: dict[str, Any]) -> None:
    """Build networks for gray images with one channel; those that cannot be see gray repeated.

    Args:
        args: of the model, which are changed.
        known: those that the model of a checkpoint was built with, which stay as they were.
    """
    if "channels" in args:  # of generated images
        args.channels = known.get("channels", 1)
    backbone, before = args.get("backbone"), known.get("backbone")
    if isinstance(backbone, str) and args.in_channels is None:
        cls = class_of(backbone)
        gray = 1 if cls and takes_channels(cls) else None
        args.in_channels = known.get("in_channels") if known else gray
    elif isinstance(backbone, Namespace) and "in_channels" in backbone.get("init_args", ()):
        built = before.get("init_args", {}) if isinstance(before, dict) else {}
        args.backbone.init_args.in_channels = built.get("in_channels", 1)


def _classes(known: list[str] | None, found: list[str], trained: str | None) -> list[str]:
    """Names come from the data; what was typed, or what is `trained` with others, must agree."""
    if known is not None and list(known) != found:
        where = trained or "model.classes"
        missing, extra = [c for c in known if c not in found], [c for c in found if c not in known]
        what = (
            f"missing from the data: {missing[:5]}, not in {where}: {extra[:5]}"
            if missing or extra
            else "their order differs"
        )
        remedy = "give data with its classes; predict, explain and features also take --data UnlabeledImages"
        remedy = remedy if missing or extra else "give them in that order, such as by --data.classes where it has them"
        remedy = remedy if trained else "leave model.classes out, which come from the data"
        raise DataError(f"{where} has {len(known)} classes, the data has {len(found)} ({what}): {remedy}")
    return found


def _see_keypoints(args: Namespace, known: dict[str, Any], found: KeypointLayout | None) -> None:
    """Names, skeleton and pairs of keypoints come from a checkpoint if there is one, else from the data."""
    parts = {} if found is None else {"keypoints": found.names, "skeleton": found.skeleton, "flip_pairs": found.pairs}
    for name, value in parts.items():
        own = known.get(name) if args[name] is None else args[name]
        args[name] = [v if isinstance(v, str) else list(v) for v in value] if own is None else own


def _frames(known: int | None, given: int, checkpoint: Path | None) -> int:
    """Clip length comes from the data; many models take clips of other lengths than they were trained on."""
    if known not in (None, given) and not checkpoint:
        raise ConfigError(f"model.frames is {known}, but the data gives clips of {given}: set --data.frames only")
    return given


def _tokenizers(known: list[str] | None, data: DataModule, task: str) -> list[str]:
    """Vocabularies come from the checkpoint if there is one, else from the data."""
    if not hasattr(type(data), "tokenizers"):
        if not known:
            raise ConfigError(f"{task} learns to write, but {type(data).__name__} has no texts: choose other --data")
        return known
    if known:
        data.use(*map(Tokenizer.from_json, known))
    return [tokenizer.to_json() for tokenizer in data.tokenizers]
