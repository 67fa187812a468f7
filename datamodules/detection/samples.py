"""Datasets of images with objects, and their collate function."""

from typing import Any

import numpy as np
import torch

from datamodules.detection.augment import ObjectAugment, to_find
from datamodules.detection.crop_resize import clip, inside, move_points
from datamodules.detection.objects import PROPOSAL, Objects, ObjectSource
from datamodules.detection.proposals import WithProposals, separated
from datamodules.letterbox import TargetSize, fitted, resize
from datamodules.samples import ImageDataset, collate, padded, readable
from modules.contracts import Batch

MULTIPLE = 32  # divisor of the height and width of a batch: the stride of common backbones


class LetterboxedObjects:
    """Whole, resized images with their objects and the ground truth, for evaluation.

    Args:
        target_size: height and width that images are fitted into; null keeps their own size.
        masks: include masks in the ground truth.
    """

    def __init__(self, target_size: TargetSize, masks: bool):
        self.target_size, self.masks = target_size, masks

    def __call__(self, source: ObjectSource, indices: np.ndarray, index: int, *key: int) -> dict[str, Any]:
        """A sample as of `ObjectAugment`, and `truth`: all objects in pixels of the original, crowds too."""
        image, objects = source.image(index), source.objects(index)
        size = image.shape[:2]
        shown = fitted(size, self.target_size) if self.target_size else size
        found, known = to_find(objects), objects.only(objects.labels != PROPOSAL)
        factors = shown[1] / size[1], shown[0] / size[0]
        sample = {"image": resize(image, shown), "labels": found.labels}
        sample["boxes"] = clip(found.boxes * np.array(factors * 2), shown)
        if found.keypoints is not None:
            sample["keypoints"] = inside(move_points(found.keypoints, (0, 0), factors), shown)
        return sample | {"size": size, "inside": shown, "truth": truth(known, self.masks)}


class ObjectDataset(ImageDataset):
    """Images with their objects, augmented or whole.

    Args:
        make: the sample of a source, the set's image indices, the image's index and the key (seed, epoch, index).
    """

    def __init__(
        self, source: ObjectSource, indices: np.ndarray, make: LetterboxedObjects | ObjectAugment, seed: int, skip: bool
    ):
        super().__init__(source, indices, [], seed, skip)
        self.make = make

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        sample = self.make(self.source, self.indices, index, self.seed, epoch, index)
        return separated(sample) if isinstance(self.source, WithProposals) else sample


def truth(objects: Objects, masks: bool) -> dict[str, Any]:
    """Ground truth of an image for the metrics: tensors, and `rle` if masks are wanted."""
    tensors = {key: torch.from_numpy(getattr(objects, key)) for key in ("boxes", "labels", "crowd", "area")}
    if objects.keypoints is not None:
        tensors["keypoints"] = torch.from_numpy(objects.keypoints)
    return tensors | ({"rle": objects.rles} if masks else {})


def collate_objects(samples: list[dict[str, Any]]) -> Batch:
    """Collate samples of images of several sizes.

    `image` uint8 (B, 3, H, W), images padded with black at the right and bottom to the largest of them, both sides a
    multiple of 32; `inside` and `size` (B, 2); `boxes`, `labels`, perhaps `masks`, `keypoints`, `proposals` and
    `truth`, lists over images.
    """
    if any("views" in s for s in samples):  # for probes
        return collate(samples)
    samples, batch = readable(samples)
    images = padded([s["image"] for s in samples], 0, MULTIPLE)
    batch["image"] = torch.from_numpy(images).permute(0, 3, 1, 2)
    batch |= {k: torch.tensor([s[k] for s in samples]) for k in ("size", "inside")}
    lists = [key for key in ("boxes", "labels", "keypoints", "proposals") if key in samples[0]]
    batch |= {k: [torch.from_numpy(s[k]) for s in samples] for k in lists}
    if "masks" in samples[0]:
        batch["masks"] = [torch.from_numpy(_roomy(s["masks"], images.shape[1:3])) for s in samples]
    return batch | ({"truth": [s["truth"] for s in samples]} if "truth" in samples[0] else {})


def _roomy(masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(N, H, W) to (N, *size), with zeros at the right and below."""
    return np.pad(masks, ((0, 0), (0, size[0] - masks.shape[1]), (0, size[1] - masks.shape[2])))
