"""Batches as samples for exported files, and predictions of samples as batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from modules.contracts import Batch, Prediction, with_channels

PAD = 0

STACKED = ("label", "tags", "features")


def samples_of(batch: Batch) -> list[Any]:
    """Samples of a batch, of the kind that it holds.

    Images uint8 (h, w, 3), one channel repeated, in original size, without the padding of the batch; of videos the
    views uint8 (V, T, H, W, 3) of each; noise with its label, 0 without; the token ids of sentences.
    """
    if "source" in batch:
        return [row[row != PAD] for row in batch["source"].cpu().numpy()]
    if "noise" in batch:
        rows, labels = batch["noise"].cpu().numpy(), batch.get("label")
        return list(zip(rows, [0] * len(rows) if labels is None else labels.tolist(), strict=True))
    if "video" in batch:
        views = batch["video"].permute(0, 2, 3, 4, 1).cpu().numpy()
        return np.split(views, len(batch["id"]))
    images = with_channels(batch["image"], 3).permute(0, 2, 3, 1).cpu().numpy()
    sizes = batch["size"].tolist() if "size" in batch else [images.shape[1:3]] * len(images)
    return [image[:height, :width] for image, (height, width) in zip(images, sizes, strict=True)]


def joined(found: Sequence[dict[str, Any]]) -> Prediction:
    """Predictions of a batch as tasks give them: classes, their scores and features stacked, all else in lists."""
    stacked = (*STACKED, *(["scores"] if {"label", "tags"} & found[0].keys() else []))
    batch: Prediction = {}
    for key in found[0]:
        plain = isinstance(found[0][key], str | list | bool)  # texts, and masks of objects
        values = [one[key] if plain else torch.as_tensor(np.asarray(one[key])) for one in found]
        batch[key] = torch.stack(values) if key in stacked else values
    return batch
