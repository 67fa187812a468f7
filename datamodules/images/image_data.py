"""Base of the image data modules (classification, self-supervised views): multi-crop views and augmentation."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar, Literal

import albumentations as A
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.augment import Erasing, Recipe, check_area
from datamodules.augmentation_parameters import Kind
from datamodules.base import Purpose, Split
from datamodules.cache import cached_tensors, digest
from datamodules.image_files import ImageFilesData
from datamodules.images.on_device import DeviceViews, Resident, named
from datamodules.images.pipelines import PolicySettings, check_local
from datamodules.images.statistics import KINDS, Normalization, fixed_statistics
from datamodules.inspection import MAX_PIXELS
from datamodules.letterbox import Letterbox
from datamodules.sampler import EpochSampler
from datamodules.samples import ImageDataset, LetterboxedImages
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from modules.contracts import Batch, ConfigError, DataError
from modules.contracts.data_info import DataInfo
from modules.contracts.preprocessing import Preprocessing


class ImageDataModule(ImageFilesData):
    """Base of the data modules of single images with at most one class each.

    Args:
        image_size: side of the square images that the network sees, in pixels.
        channels: 3 for color, 1 for gray: images of color become brightness (ITU-R BT.601), and networks that can are
            built for one channel.
        views: 1 gives `image`; 2 or more give `views`, that many augmented versions of each image.
        local_views: this many smaller views of small crops follow in training (multi-crop), for DINO, SwAV, LeJEPA.
        local_size: side of the local views in pixels.
        crop: range of the random crop's area as a fraction of the image; null takes the center crop.
        local_crop: the same for the local views.
        augment: `none`, `flip`, `simclr` (flip, color jitter, gray, blur above 64 pixels), `strong` (the same with any
            hue, when color says nothing), `moco_v1` (as MoCo's first version: strong jitter always, no blur),
            `randaugment`, `trivialaugment` or `augmix` (after a flip, with their published settings), or albumentations
            transforms, applied after the crop to uint8 images.
        scale_jitter: range of the shorter side in pixels that training images are resized to before a random square is
            cut from them, in place of `crop`, such as [256, 512] for VGG's 224 pixels.
        erasing: random erasing of a box in training: `constant` with ImageNet's mean color, `color` with a random one,
            `pixel` with noise.
        erasing_prob: its probability, 0..1.
        repeats: repeated augmentation: each image comes so often in a batch, augmented anew, and an epoch takes as many
            times fewer images (Hoffer et al. 2020).
        consistent_views: all views share crop and flip, and the first has nothing else, for AugMix's consistency
            (`model.jsd_weight`); validation sees single images.
        normalization: of images scaled to 0..1, when training begins: `data` subtracts the mean of the training images'
            channels and divides by their standard deviation, `imagenet` does so with those of ImageNet, `none` neither;
            `mean_image` subtracts the mean of the training images pixel by pixel, as the network sees them without
            augmentation, from views after crop and flip; null takes what the backbone's weights expect. It is kept in
            checkpoints and exported files.
        augment_device: where views are made: `cpu` in the loader's processes, `device` those of the named recipes where
            the network runs, whole batches at once. There the images stay as they are if they have one size of up to
            2 x image_size; others are first brought to centered squares of 2 x image_size.
        cache_on_device: keep all training images on that device as bytes, in every process; `auto` does on a GPU where
            they take a quarter of the free memory or less.
    """

    roles: ClassVar[dict[str, Role]] = {
        "image_size": "input",
        "channels": "input",
        "views": "input",
        "local_views": "input",
        "local_size": "input",
        "crop": "input",
        "local_crop": "input",
        "augment": "input",
        "scale_jitter": "training",
        "erasing": "training",
        "erasing_prob": "training",
        "repeats": "training",
        "consistent_views": "training",
        "normalization": "training",
        "augment_device": "input",
        "cache_on_device": "training",
    }

    def __init__(
        self,
        image_size: int = 64,
        channels: Literal[1, 3] = 3,
        views: int = 1,
        local_views: int = 0,
        local_size: int = 32,
        crop: tuple[float, float] | None = None,
        local_crop: tuple[float, float] = (0.05, 0.4),
        augment: Recipe | list[A.BasicTransform] = "none",
        scale_jitter: tuple[int, int] | None = None,
        erasing: Erasing = "none",
        erasing_prob: float = 0.25,
        repeats: int = 1,
        consistent_views: bool = False,
        normalization: Normalization | None = None,
        augment_device: Literal["cpu", "device"] = "cpu",
        cache_on_device: Resident = "auto",
        **kwargs,
    ):
        super().__init__(**kwargs)
        if views < 1 or image_size < 1:
            raise ConfigError("data: views and image_size are at least 1")
        for name, area in (("crop", crop), ("local_crop", local_crop)):
            check_area(name, area)
        self.image_size, self.views, self.local_size = image_size, views, local_size if local_views else None
        kinds = [(views, image_size, crop)]
        if local_views:
            check_local(local_views, local_size, views, image_size)
            if normalization == "mean_image":
                raise ConfigError(
                    "data.normalization mean_image is of data.image_size, which local views do not have: set "
                    "--data.local_views 0, or --data.normalization data"
                )
            kinds.append((local_views, local_size, local_crop))
        policy = PolicySettings(scale_jitter, erasing, erasing_prob, repeats, consistent_views, channels)
        policy.check(kinds, augment, augment_device)
        self.plain = policy.plain(image_size)
        self.repeats, self.consistent_views, self.channels = repeats, consistent_views, channels
        self.normalization: Normalization | None = normalization
        self.pipelines = policy.pipelines(kinds, augment)  # one list per kind of view
        self.on_device: DeviceViews | None = None
        if augment_device == "device":
            self.on_device = DeviceViews(
                [Kind(*kind, named(augment)) for kind in kinds], 2 * image_size, cache_on_device, channels
            )
        elif cache_on_device is True:
            raise ConfigError(
                "data.cache_on_device is true, but the loader makes the views: set data.augment_device device"
            )

    @property
    def view_count(self) -> int:
        return sum(map(len, self.pipelines))

    @property
    def sides(self) -> dict[str, int]:
        local = {} if self.local_size is None else {"data.local_size": self.local_size}
        return {"data.image_size": self.image_size} | local

    @property
    def target_size(self) -> tuple[int, int] | None:
        """Height and width that whole images are letterboxed to; null leaves them as they are."""
        return (self.image_size, self.image_size)

    @property
    def preprocessing(self) -> Preprocessing:
        if self.letterbox:
            return Preprocessing("letterbox", self.target_size)
        return Preprocessing("center_crop", (self.image_size, self.image_size))

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        if split not in self.splits:
            return None
        (source, indices), skip = self.splits[split], self.on_error == "skip"
        if purpose == "evaluate" and self.letterbox:
            return LetterboxedImages(source, indices, Letterbox(None if self.original_size else self.target_size), skip)
        if purpose == "plain" or (purpose == "evaluate" and (self.views == 1 or self.consistent_views)):
            return ImageDataset(source, indices, [self.plain], 0, skip)
        train = purpose == "train"
        seed = self.seed if train else 0
        if self.on_device:
            return self.on_device.dataset(source, indices, train, seed, skip)
        pipelines = [*chain(*self.pipelines)] if train else self.pipelines[0]
        return ImageDataset(source, indices, pipelines, seed, skip)

    def sample(self, image: bytes | np.ndarray, name: str = "image", max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        """The sample that `predict` makes of an image; `collate` makes a batch of several.

        Images of more than 8 bits are scaled by `value_range`, or by their own values where it is null.

        Args:
            image: the content of an image file, or uint8 RGB (H, W, 3).
            name: its id, also for messages.
            max_pixels: of the file, beside the setting; larger ones are not decoded.

        Raises:
            DataError: no image, a damaged one, or too large.
        """
        if isinstance(image, bytes):
            image = self.decoded(image, name, max_pixels)
        elif image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DataError(f"{name} is {image.dtype} {image.shape}, but an image is uint8 RGB (H, W, 3)")
        one = copy(self)
        one.splits = {"train": (Arrays(image[None], None, name), np.zeros(1, np.int64))}
        samples: Any = one.dataset("train", "evaluate" if self.letterbox else "plain")
        return samples[(0, 0)] | {"id": name}

    def class_mask(self, sample: str, name: str) -> np.ndarray | None:
        """Pixels that show a class in a sample, bool (H, W) as the network sees it; null where the data does not know.

        Args:
            sample: its id.
            name: of the class.
        """
        return None

    def cached(
        self, name: str, splits: Sequence[Split], about: Iterable[object], compute: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        known = [(self.splits[split][0].fingerprint(), self.splits[split][1].tolist()) for split in splits]
        return cached_tensors(name, digest([*known, self.image_size, *about]), compute)

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), normalization=self.statistics)

    def statistics(self, channels: int) -> dict[str, Tensor] | None:
        """Statistics of `normalization` for a network of so many channels; null for its own. See `DataInfo`."""
        if self.normalization not in KINDS:
            return fixed_statistics(self.normalization, channels) if self.normalization else None
        shown, mode = self.plain_dataloader("train") or (), (channels, self.channels)
        name, compute = KINDS[self.normalization]
        return self.cached(name, ["train"], mode, lambda: compute(shown, channels))

    def train_dataloader(self) -> DataLoader:
        loader = super().train_dataloader()
        if self.on_device:
            data, device = loader.dataset, self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
            self.on_device.hold(data, self._loader(data, EpochSampler(len(data), None)), device)
        return loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the batch, and make the views of on-device augmentation."""
        parameters = batch.get("parameters")  # stay on the host
        batch = super().transfer_batch_to_device(
            {k: v for k, v in batch.items() if k != "parameters"}, device, dataloader_idx
        )
        return batch if parameters is None else self.on_device.make(batch, parameters)

    def more(self) -> list[str]:
        if not (self.on_device and "train" in self.splits):
            return []
        source, _ = self.splits["train"]
        height, width = self.on_device.shape(source)
        kind = "images" if source.shape == (height, width) else "centered squares"
        return [f"views are made on the device, from {kind} of {width} x {height} pixels"]
