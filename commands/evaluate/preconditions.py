"""Preconditions of `evaluate`: the split that is evaluated, and enough images to learn from."""

from collections.abc import Sized

from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from callbacks.collectors.chosen import shots
from commands.evaluate.features import samples, stills
from datamodules import DataModule
from datamodules.base import Split
from modules.contracts import ConfigError, DataError
from tasks import Task


def split_to_evaluate(model: Task, data: DataModule, label_fractions: tuple[float, ...]) -> tuple[Split, Tensor]:
    """The split to evaluate, and a few of its images.

    Raises:
        ConfigError: data of another kind, or fewer training images than `label_fractions` asks for.
        DataError: no training images, or none to judge.
    """
    name = type(data).__name__
    refused = ConfigError(
        f"evaluate judges features of single images of one size, or of videos by a task for videos, which {name} "
        f"does not give: add other --data, such as --data ImageFolder --data.root FOLDER"
    )
    if data.noun != "images" and not (data.noun == "videos" and "video" in model.required_keys):
        raise refused
    splits: tuple[Split, ...] = ("test", "val")
    split = next((split for split in splits if data.has(split)), None)
    if split is None or not data.has("train"):
        missing = "test or val images to judge" if data.has("train") else "training images to learn from"
        raise DataError(f"{name} has no {missing}: point --data.root to some")
    sources = (data.dataset(part, "plain") for part in ("train", split))
    train, evaluated = (len(source) for source in sources if isinstance(source, Sized))
    if max(label_fractions) > train:
        raise ConfigError(
            f"label_fractions is {max(label_fractions):g}, but there are only {train} training {data.noun}"
        )
    if evaluated < 2:
        raise DataError(f"the {split} split has {evaluated} image: two are needed to compare any")
    for name, every in (("label_fraction", "1"), ("num_labels", "null")):
        if (known := data.hparams.get(name)) not in (None, 1.0):
            rank_zero_info(f"the train split is that of data.{name} {known:g}: --data.{name} {every} takes all of it")
    batch = next(samples(data, split, "plain", range(min(8, evaluated))))
    if not isinstance(batch.get("image", batch.get("video")), Tensor):
        raise refused
    return split, stills(shots(batch))
