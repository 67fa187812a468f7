"""Datasets of single images, and their collate function."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augmentation_parameters import AugmentationParameters
from datamodules.letterbox import Letterbox
from datamodules.source import Source
from modules.contracts import IGNORE, Batch, DataError

View = Callable[..., np.ndarray]
"""A view uint8 (H, W, C) of an image and the integers of a key, such as `datamodules.augment.Augment`."""


class ImageDataset(Dataset):
    """Samples as dicts, by key (epoch, row), with one view per pipeline.

    Of an image that cannot be read only `skipped`, its id, when `skip`.
    """

    def __init__(self, source: Source, indices: np.ndarray, pipelines: Sequence[View], seed: int, skip: bool):
        self.source, self.indices, self.pipelines = source, indices, pipelines
        self.seed, self.skip = seed, skip

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, row = key
        index = int(self.indices[row])
        try:
            sample = self.content(epoch, row, index)
        except DataError:
            if self.skip:
                return {"skipped": self.source.id(index)}
            raise
        sample["id"] = self.source.id(index)
        if self.source.labels is not None:
            sample["label"] = int(self.source.labels[index])
        if (tags := getattr(self.source, "tags", None)) is not None:
            sample["tags"] = tags[index]
        return sample

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        """The sample's dict without `id` and `label`: here `views`, one per pipeline."""
        image = self.source.image(index)
        return {"views": [make(image, self.seed, epoch, index, view) for view, make in enumerate(self.pipelines)]}


class DeviceDataset(ImageDataset):
    """Samples for on-device augmentation: keys of the random parameters, and the image unless the device holds it.

    Args:
        parameters: of the views; an image of another shape is scaled to cover that shape and cut at its sides.

    """

    def __init__(self, source: Source, indices: np.ndarray, parameters: AugmentationParameters, seed: int, skip: bool):
        super().__init__(source, indices, [], seed, skip)
        self.parameters = parameters
        self.held, self.missing = False, frozenset[int]()  # by the device; rows of images that could not be read
        self.fit = A.Compose([A.SmallestMaxSize(max_size_hw=parameters.shape), A.CenterCrop(*parameters.shape)])

    def leave_out_images(self, missing: Iterable[int]) -> None:
        """Give keys and parameters alone, because the device holds all images but the rows in `missing`."""
        self.held, self.missing = True, frozenset(missing)

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        sample = {"row": row, "key": (self.seed, epoch, index), "parameters": self.parameters}
        if not self.held:
            image = self.source.image(index)
            return sample | {
                "image": image if image.shape[:2] == self.parameters.shape else self.fit(image=image)["image"]
            }
        if row in self.missing:
            raise DataError(f"{self.source.id(index)} could not be decoded")
        return sample


class LetterboxedImages(ImageDataset):
    """Whole, letterboxed images for dense prediction."""

    def __init__(self, source: Source, indices: np.ndarray, fit: Letterbox, skip: bool):
        super().__init__(source, indices, [], 0, skip)
        self.fit = fit

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        return self.fit(self.source.image(index))


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Stack the readable samples: `image` uint8 (B, 3, H, W) or `views`, a list of those, local ones last.

    `label` (B,), `tags` uint8 (B, C), `id`. For on-device augmentation: `parameters`, `row` (B,), and `image` unless
    the device holds the images. With semantic maps: `mask` (B, H, W). Letterboxed images also have `size` and `inside`
    (B, 2); all are padded to the largest; where that or `image_size` changed a size, `original_mask` is a list of the
    maps as they were, uint8 (h, w).
    """
    samples, batch = readable(samples)
    first = samples[0]
    batch |= _images(samples) if "views" in first else _parameters(samples) if "parameters" in first else _maps(samples)
    if "label" in samples[0]:
        batch["label"] = torch.tensor([s["label"] for s in samples])
    if "tags" in samples[0]:
        batch["tags"] = torch.from_numpy(np.stack([s["tags"] for s in samples]))
    return batch


def readable(samples: list[dict[str, Any]], noun: str = "image") -> tuple[list[dict[str, Any]], Batch]:
    """The samples that could be read, and the beginning of their batch: `id`, and `skipped` if any could not."""
    skipped = [s["skipped"] for s in samples if "skipped" in s]
    samples = [s for s in samples if "skipped" not in s]
    if not samples:
        raise DataError(f"not one {noun} of this batch could be read: {', '.join(skipped[:3])}, ...")
    return samples, {"id": [s["id"] for s in samples]} | ({"skipped": skipped} if skipped else {})


def _images(samples: list[dict[str, Any]]) -> Batch:
    views = [_stack([s["views"][i] for s in samples]) for i in range(len(samples[0]["views"]))]
    return {"views": views} if len(views) > 1 else {"image": views[0]}


def _parameters(samples: list[dict[str, Any]]) -> Batch:
    parameters = samples[0]["parameters"]([s["key"] for s in samples])
    batch: Batch = {"parameters": parameters, "row": torch.tensor([s["row"] for s in samples])}
    return batch | ({"image": _stack([s["image"] for s in samples])} if "image" in samples[0] else {})


def _maps(samples: list[dict[str, Any]]) -> Batch:
    batch: Batch = {"image": torch.from_numpy(padded([s["image"] for s in samples], 0)).permute(0, 3, 1, 2)}
    if "mask" in samples[0]:
        batch["mask"] = torch.from_numpy(padded([s["mask"] for s in samples], IGNORE)).long()
    padded_size = tuple(batch["image"].shape[-2:])
    if "original_mask" in samples[0] and any(tuple(s["size"]) != padded_size for s in samples):
        batch["original_mask"] = [torch.tensor(s["original_mask"]) for s in samples]  # files are read-only: a copy
    return batch | {k: torch.tensor([s[k] for s in samples]) for k in ("size", "inside") if k in samples[0]}


def padded(arrays: list[np.ndarray], value: int, multiple: int = 1) -> np.ndarray:
    """Stack arrays (H, W, ...), padded with `value` at the right and bottom to the largest.

    Args:
        multiple: divisor of the result's height and width.
    """
    height, width = (-(-max(a.shape[axis] for a in arrays) // multiple) * multiple for axis in (0, 1))
    if {a.shape[:2] for a in arrays} == {(height, width)}:
        return np.stack(arrays)
    padded = np.full((len(arrays), height, width, *arrays[0].shape[2:]), value, arrays[0].dtype)
    for room, array in zip(padded, arrays, strict=True):
        room[: array.shape[0], : array.shape[1]] = array
    return padded


def _stack(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # stays channels_last in memory, which is faster


def drawn_images(samples: Any, collate: Callable[[list], Batch], seed: int, count: int) -> Tensor | None:
    """Images or clips uint8 (N, C, ...) of some samples, the same for the same seed; null without samples.

    Args:
        samples: data set with keys (epoch, row), such as that of plain samples, or null.
        collate: samples to a batch.
        seed: of the draw.
        count: number of samples; fewer where there are not as many.
    """
    if samples is None:
        return None
    rows = np.random.default_rng(seed).permutation(len(samples))[:count]
    batch = collate([samples[0, int(row)] for row in rows])
    return batch["video"] if "video" in batch else batch["image"]
