"""What all data modules of single pictures share: splits, labels, augmentation and broken files."""

from itertools import chain
from pathlib import Path
from typing import Literal

import albumentations as A
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.augment import RECIPES, Augment, Chances, Recipe
from datamodules.base import DataModule, Purpose, Split
from datamodules.draws import Kind
from datamodules.on_device import DeviceViews, Resident
from datamodules.sampler import EpochSampler
from datamodules.samples import ImageDataset, collate
from datamodules.source import Files, Source
from modules.contracts import Batch, ConfigError, DataError, writing


class ImageDataModule(DataModule):
    """Base of the data modules of single pictures with at most one class each.

    Args:
        image_size: side of the square pictures that the network sees, in pixels.
        views: 1 gives `image`; 2 or more give `views`, that many augmented versions of each picture.
        local_views: this many smaller views of small crops follow in training, as for DINO and SwAV (multi-crop).
        local_size: side of the local views in pixels.
        crop: range of the random crop's area as a fraction of the picture; null keeps the whole picture.
        local_crop: the same for the local views.
        augment: `none`, `flip`, `simclr` (flip, colour jitter, grey, blur above 64 pixels), `strong` (the same with any
            hue, when colour says nothing), or albumentations transforms, applied after the crop to uint8 pictures.
        augment_on: `cpu` makes the views in the loader's processes, `device` makes those of the named recipes where the
            network runs, whole batches at once. There the pictures stay as they are if they have one size of up to
            2 x image_size; others are first brought to centred squares of 2 x image_size.
        resident: whether that device holds all training pictures as bytes, in every process: `auto` does on a GPU where
            they take a quarter of the free memory or less.
        labels: how many training pictures keep their label and are used: a fraction up to 1.0, or a count above 1;
            the same share of every class, drawn with the seed.
        val_split: share of the training pictures set aside for validation when the data has no validation set; the
            same share of every class, the same pictures for every seed.
        on_error: what a picture that cannot be read does: `raise` stops, `skip` leaves it out, counted and listed in
            the run directory.
        batch_size: samples per device and step.
        workers: processes that load; 0 loads in the main process.
    """

    def __init__(
        self,
        image_size: int = 64,
        views: int = 1,
        local_views: int = 0,
        local_size: int = 32,
        crop: tuple[float, float] | None = None,
        local_crop: tuple[float, float] = (0.05, 0.4),
        augment: Recipe | list[A.BasicTransform] = "none",
        augment_on: Literal["cpu", "device"] = "cpu",
        resident: Resident = "auto",
        labels: float = 1.0,
        val_split: float = 0.1,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 64,
        workers: int = 2,
    ):
        super().__init__(batch_size, workers)
        if views < 1 or image_size < 1 or labels <= 0 or not 0 <= val_split < 1:
            raise ConfigError("data: views and image_size are at least 1, labels above 0, val_split in [0, 1)")
        for name, area in (("crop", crop), ("local_crop", local_crop)):
            if area and not 0 < area[0] <= area[1] <= 1:
                raise ConfigError(f"data.{name} is {list(area)}, but it is a range of area fractions like [0.2, 1.0]")
        self.image_size, self.views, self.labels, self.val_split, self.on_error = (
            image_size,
            views,
            labels,
            val_split,
            on_error,
        )
        kinds = [(views, image_size, crop)]
        if local_views:
            _check_local(local_views, local_size, views, image_size)
            kinds.append((local_views, local_size, local_crop))
        self.plain = Augment(image_size, None, "none")
        # one list per kind of view
        self.pipelines = [[Augment(size, area, augment)] * count for count, size, area in kinds]
        self.on_device: DeviceViews | None = None
        if augment_on == "device":
            self.on_device = DeviceViews([Kind(*kind, _named(augment)) for kind in kinds], 2 * image_size, resident)
        elif resident is True:
            raise ConfigError("data.resident is true, but the loader makes the views: set data.augment_on device")
        self.splits: dict[Split, tuple[Source, np.ndarray]] = {}

    @property
    def view_count(self) -> int:
        return sum(map(len, self.pipelines))

    def sources(self) -> dict[Split, Source]:
        """The pictures of each split on disk; called once, before the first step."""
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        self.splits = {split: (source, self._readable(source)) for split, source in self.sources().items()}
        if "train" in self.splits:
            self._divide()
        if self.trainer and self.trainer.is_global_zero:
            self._list_skipped(self.skipped)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Counts and lists what only turned out broken when it was decoded."""
        fresh = [name for name in batch.pop("skipped", []) if name not in self.skipped]
        self.skipped += fresh
        self._list_skipped(fresh)
        return batch

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        if split not in self.splits:
            return None
        (source, indices), skip = self.splits[split], self.on_error == "skip"
        if purpose == "plain" or (purpose == "evaluate" and self.views == 1):
            return ImageDataset(source, indices, [self.plain], 0, skip)
        train = purpose == "train"
        seed = self.seed if train else 0
        if self.on_device:
            return self.on_device.dataset(source, indices, train, seed, skip)
        pipelines = [*chain(*self.pipelines)] if train else self.pipelines[0]
        return ImageDataset(source, indices, pipelines, seed, skip)

    def train_dataloader(self) -> DataLoader:
        loader = super().train_dataloader()
        if self.on_device:
            data, device = loader.dataset, self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            self.on_device.hold(data, self._loader(data, EpochSampler(len(data), None)), device)
        return loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Also makes the views for which the loader only drew."""
        draws = batch.get("draws")  # stay on the host
        batch = super().transfer_batch_to_device(
            {k: v for k, v in batch.items() if k != "draws"}, device, dataloader_idx
        )
        return batch if draws is None else self.on_device.make(batch, draws)

    collate = staticmethod(collate)

    def describe(self) -> list[str]:
        lines = []
        for split, (source, indices) in self.splits.items():
            line = f"{split}: {len(indices):,} pictures"
            if source.labels is not None and self.classes:
                counts = np.bincount(source.labels[indices], minlength=len(self.classes))
                line += f" of {len(self.classes)} classes, {counts.min():,} to {counts.max():,} each"
            lines.append(line)
        if self.on_device and "train" in self.splits:
            source, _ = self.splits["train"]
            height, width = self.on_device.shape(source)
            kind = "pictures" if source.shape == (height, width) else "centred squares"
            lines.append(f"views are made on the device, from {kind} of {width} x {height} pixels")
        if self.skipped:
            lines.append(f"skipped: {len(self.skipped)} pictures that cannot be read, listed in skipped.txt")
        return lines

    def _divide(self) -> None:
        """Sets validation pictures aside where the data has none, then drops the training pictures without label."""
        source, train = self.splits["train"]
        if "val" not in self.splits and self.val_split:
            train, val = divide(source.labels, train, 1 - self.val_split, np.random.default_rng(0))
            if len(val):
                self.splits["val"] = (source, val)
        if self.labels != 1.0:
            train, _ = divide(source.labels, train, self.labels, np.random.default_rng((self.seed, 1)))
        self.splits["train"] = (source, train)

    def _list_skipped(self, names: list[str]) -> None:
        if names:
            path = Path(self.trainer.default_root_dir) / "skipped.txt"
            with writing(path), path.open("a") as file:
                file.writelines(f"{name}\n" for name in names)

    def _readable(self, source: Source) -> np.ndarray:
        indices = np.arange(len(source))
        broken = source.broken() if isinstance(source, Files) else []
        if not broken:
            return indices
        if self.on_error == "raise":
            more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
            raise DataError(
                f"{source.root / source.id(broken[0])}{more} cannot be decoded: mend it, or set --data.on_error skip"
            )
        self.skipped += [source.id(i) for i in broken]
        return np.delete(indices, broken)


def divide(
    labels: np.ndarray | None, indices: np.ndarray, share: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a share (fraction up to 1, or a count above 1) of `indices`, the same share of every class; and the rest.

    Every class keeps at least one sample on the drawn side; both results are sorted.

    Raises:
        ConfigError: a count larger than the data.
    """
    if share > len(indices):
        raise ConfigError(f"data.labels is {share:g}, but there are only {len(indices)} training pictures")
    fraction = share if share <= 1 else share / len(indices)
    groups = [indices] if labels is None else [indices[labels[indices] == c] for c in np.unique(labels[indices])]
    drawn = [random.permutation(group)[: max(1, round(fraction * len(group)))] for group in groups]
    chosen = np.sort(np.concatenate(drawn))
    return chosen, np.setdiff1d(indices, chosen)


def _named(augment: Recipe | list[A.BasicTransform]) -> Chances:
    if isinstance(augment, str):
        return RECIPES[augment]
    raise ConfigError(
        f"data.augment_on device makes the views of named recipes only: set data.augment to one of "
        f"{', '.join(RECIPES)}, or data.augment_on to cpu"
    )


def _check_local(count: int, size: int, views: int, image_size: int) -> None:
    if count < 0:
        raise ConfigError(f"data.local_views is {count}, but it counts views: 0 for none")
    if views < 2:
        raise ConfigError(
            f"data.local_views is {count} with data.views {views}, but local views are compared with global ones: "
            f"set data.views to 2 or more"
        )
    if not 1 <= size <= image_size:
        raise ConfigError(f"data.local_size is {size}, but it lies between 1 and data.image_size, {image_size}")
