"""Samples that are explained, as the network sees them and in their original resolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from callbacks.collectors.chosen import arrays, chosen, evenly, picked
from callbacks.figures.placing import Place
from datamodules import DataModule
from datamodules.base import Split
from datamodules.split_data import SplitData
from datamodules.text.text_data import TextData
from modules.contracts import Batch, DataError
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
    """

    split: Split
    ids: list[str]
    batch: Batch
    shown: list[np.ndarray]
    places: list[Place]

    def chosen(self, rows: Sequence[int]) -> "Samples":
        """Some of the samples."""
        shown, places = ([part[i] for i in rows] if self.shown else [] for part in (self.shown, self.places))
        ids, batch = [self.ids[i] for i in rows], picked(self.batch, rows)
        return Samples(self.split, ids, batch, cast(Any, shown), cast(Any, places))


def take(data: DataModule, task: Task, count: int) -> Samples:
    """Up to `count` samples of the test split, else of val or train, evenly spread.

    Raises:
        DataError: there are none.
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
    moved = data.transfer_batch_to_device(dict(raw), task.device, 0)
    with torch.no_grad():
        batch = task.network_input(task.on_after_batch_transfer(moved, 0))
    ids = list(raw["id"]) if "id" in raw else [str(row) for row in rows]
    return Samples(split, ids, batch, shown, places)


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
