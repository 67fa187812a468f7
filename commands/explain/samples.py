"""Samples that are explained, as the network sees them and in their original resolution."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callbacks.collectors.chosen import arrays, chosen, evenly, picked
from callbacks.figures.placing import Place
from datamodules import DataModule
from datamodules.base import Split
from datamodules.images.image_data import ImageDataModule
from datamodules.split_data import SplitData
from datamodules.text.text_data import TextData
from modules.contracts import Batch, ConfigError, DataError, regular
from tasks import Task


@dataclass(frozen=True)
class Samples:
    """A few samples of a split.

    Args:
        split: that they are of.
        ids: as the data names them.
        batch: as the network sees them.
        shown: uint8 (H, W, 3) in their original resolution, (T, H, W, 3) of clips; empty of sentences.
        places: of each, where the network's input lies in it.
        reference: the image of a file that all are compared with, uint8 (H, W, 3); null without.
    """

    split: Split
    ids: list[str]
    batch: Batch
    shown: list[np.ndarray]
    places: list[Place]
    reference: np.ndarray | None = None

    def chosen(self, rows: Sequence[int]) -> "Samples":
        """Some of the samples."""
        shown, places = ([part[i] for i in rows] if self.shown else [] for part in (self.shown, self.places))
        ids, batch = [self.ids[i] for i in rows], picked(self.batch, rows)
        return replace(self, ids=ids, batch=batch, shown=shown, places=places)


def take(data: DataModule, task: Task, count: int, target: str | None = None) -> Samples:
    """Up to `count` samples of the test split, else of val or train, evenly spread.

    Args:
        data: gives them.
        task: that sees them.
        count: of samples.
        target: as typed; pretraining compares images with that of this file, unless it is a number.

    Raises:
        ConfigError: there is no such file.
        DataError: there are no samples, or the file cannot be read.
    """
    splits: tuple[Split, ...] = ("test", "val", "train")
    split = next((split for split in splits if data.has(split)), None)
    if split is None:
        raise DataError(f"{type(data).__name__} has no samples to explain: point --data.root to some")
    if isinstance(data, TextData):
        source: Any = data.encoded.get(split)
        rows = evenly(len(source), count)
        raw = source[(0, rows)]
        data.on_before_batch_transfer(raw, 0)
    else:
        rows, raw = chosen(data, split, count)
    places, shown = _shown(data, split, rows, raw)
    ids = list(raw["id"]) if "id" in raw else [str(row) for row in rows]
    batch = _seen(data, task, raw) | {"id": ids}
    found = Samples(split, ids, batch, shown, places)
    return found if target is None or target.isdecimal() or not task.pretraining else _beside(found, data, task, target)


def _beside(samples: Samples, data: DataModule, task: Task, target: str) -> Samples:
    """The same samples, with the image of a file in their batch as `reference`."""
    content, name = _content(target), f"--target {target}"
    if not isinstance(data, ImageDataModule):
        raise ConfigError(
            f"{name} is a file, but {type(data).__name__} reads no other images: give the number of a sample"
        )
    raw = data.collate([data.sample(content, name)])
    data.on_before_batch_transfer(raw, 0)
    image = _seen(data, task, raw)["image"].expand(len(samples.ids), -1, -1, -1)
    return replace(samples, batch=samples.batch | {"reference": image}, reference=data.decoded(content, name))


def _seen(data: DataModule, task: Task, raw: Batch) -> Batch:
    """A batch of the data, before it is on the device, as `Task.target_score` takes it."""
    moved = data.transfer_batch_to_device(dict(raw), task.device, 0)
    with torch.no_grad():
        return task.network_input(task.on_after_batch_transfer(moved, 0))


def _content(target: str) -> bytes:
    path = Path(target).expanduser()
    if not path.exists():
        raise ConfigError(f"--target is {target!r}, but must be the number of a sample or an image file that exists")
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise DataError(f"--target {target} cannot be read: {error.strerror}") from error


def _shown(data: DataModule, split: Split, rows: np.ndarray, raw: Batch) -> tuple[list[Place], list[np.ndarray]]:
    """Places and pixels of the originals; those of the network where the data does not give others."""
    if "video" in raw:
        clips = arrays(raw["video"])
        return [Place(clip.shape[1:3], clip.shape[1:3]) for clip in clips], clips
    if "image" not in raw:
        return [], []
    known, names = data.preprocessing, raw.get("id", ())
    seen = arrays(raw["image"])
    parts: Any = data.splits if isinstance(data, SplitData) else {}
    whole = split in parts and known is not None and len(names) == len(rows)  # none was skipped
    shown, places = [], []
    for number, image in enumerate(seen):
        original = image
        if whole:
            source, indices = parts[split]
            original = np.asarray(source.image(int(indices[rows[number]])))
        side, size = image.shape[:2], original.shape[:2]
        inside = tuple(raw["inside"][number].tolist()) if "inside" in raw else side
        crop = whole and known is not None and known.kind == "center_crop"
        shown.append(original if original.shape[2] == 3 else np.repeat(original[..., :1], 3, 2))
        places.append(Place(size, inside, crop))
    return places, shown
