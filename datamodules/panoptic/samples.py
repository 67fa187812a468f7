"""Samples of images with segments, and their collate function."""

from typing import Any

import numpy as np
import torch

from datamodules.detection.augment import to_find
from datamodules.detection.crop_resize import seen
from datamodules.detection.objects import ObjectSource
from datamodules.detection.samples import LetterboxedObjects, collate_objects
from datamodules.letterbox import TargetSize
from modules.contracts import Batch


class LetterboxedSegments(LetterboxedObjects):
    """Whole, resized images with their segments and the ground truth, for evaluation.

    Args:
        target_size: height and width that images are fitted into; null keeps their own size.
    """

    def __init__(self, target_size: TargetSize):
        super().__init__(target_size, masks=True)

    def __call__(self, source: ObjectSource, indices: np.ndarray, index: int, *key: int) -> dict[str, Any]:
        """A sample as of `LetterboxedObjects`, and `masks` in pixels that the network sees."""
        sample, objects = super().__call__(source, indices, index, *key), to_find(source.objects(index))
        (height, width), (rows, columns) = sample["size"], sample["inside"]
        masks = seen(objects.rles or [], np.arange(len(objects)), (0, height, rows), (0, width, columns))
        return sample | {"masks": masks}


def collate_segments(samples: list[dict[str, Any]]) -> Batch:
    """Collate samples of images of several sizes.

    As `collate_objects`, but in place of boxes and masks `segments` int32 (B, H, W): 0 for void, padding and crowds,
    and k for the segment whose class is the k-th of `labels`.
    """
    batch = collate_objects(samples)
    if "masks" in batch:
        batch["segments"] = torch.stack([numbered(masks) for masks in batch.pop("masks")])
        del batch["boxes"]
    return batch


def numbered(masks: torch.Tensor) -> torch.Tensor:
    """Masks uint8 (N, H, W) that do not overlap as int32 (H, W): k for the k-th, 0 for none."""
    segments = torch.zeros(masks.shape[1:], dtype=torch.int32)
    for number, mask in enumerate(masks, 1):
        segments[mask > 0] = number
    return segments
