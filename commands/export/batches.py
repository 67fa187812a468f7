"""Batches of images in their original size as arrays, and predictions of arrays as batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from modules.contracts import Batch, Prediction

STACKED = ("label", "features")


def samples_of(batch: Batch) -> list[np.ndarray]:
    """Images uint8 (h, w, 3) of a batch in original size, without the padding of the batch."""
    images = batch["image"].permute(0, 2, 3, 1).cpu().numpy()
    return [image[:height, :width] for image, (height, width) in zip(images, batch["size"].tolist(), strict=True)]


def joined(found: Sequence[dict[str, Any]]) -> Prediction:
    """Predictions of a batch as tasks give them: classes, their scores and features stacked, all else in lists."""
    stacked = (*STACKED, *(["scores"] if "label" in found[0] else []))
    batch: Prediction = {}
    for key in found[0]:
        values = [one[key] if isinstance(one[key], str) else torch.as_tensor(np.asarray(one[key])) for one in found]
        batch[key] = torch.stack(values) if key in stacked else values
    return batch
