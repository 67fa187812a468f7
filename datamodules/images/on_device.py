"""On-device (GPU) augmentation of views, from images that the loader brings or that the device holds."""

import math
from collections.abc import Iterable
from typing import Literal

import albumentations as A
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from datamodules.augment import RECIPES, Chances, Recipe
from datamodules.augmentation_parameters import AugmentationParameters, Kind
from datamodules.samples import DeviceDataset
from datamodules.source import Source
from modules.augmentation.views import make_views
from modules.contracts import Batch, ConfigError, with_channels

Resident = bool | Literal["auto"]


class DeviceViews:
    """On-device augmentation of batches whose random parameters the loader drew.

    Args:
        kinds: the views that training needs; validation needs those of the first kind.
        largest: images of one size stay as they are up to this short side; others become centered squares of it.
        cache_on_device: keep the training images on the device.
        channels: C of the views: 3, or 1 for brightness, as in `GrayView`.
    """

    def __init__(self, kinds: list[Kind], largest: int, cache_on_device: Resident, channels: int = 3):
        self.kinds, self.largest, self.cache_on_device, self.channels = kinds, largest, cache_on_device, channels
        self.held: Tensor | None = None  # training images uint8 (N, H, W, C)
        self.missing: set[int] = set()  # those that could not be read

    def shape(self, source: Source) -> tuple[int, int]:
        """Height and width of the images that views are made of."""
        found = source.shape
        return found if found and min(found) <= self.largest else (self.largest, self.largest)

    def dataset(self, source: Source, indices: np.ndarray, train: bool, seed: int, skip: bool) -> DeviceDataset:
        parameters = AugmentationParameters(self.shape(source), self.kinds if train else self.kinds[:1])
        return DeviceDataset(source, indices, parameters, seed, skip)

    def hold(self, data: DeviceDataset, batches: Iterable[Batch], device: torch.device) -> None:
        """Copy the images to the device if they shall stay there; then `data` no longer reads them.

        Args:
            data: the training set.
            batches: all of it.
        """
        shape = data.parameters.shape
        needed = len(data) * self.channels * math.prod(shape)
        if self.held is None and worth_holding(self.cache_on_device, needed, device):
            rank_zero_info(f"  reading {len(data):,} training images ({needed / 1e6:,.1f} MB) that stay on {device}")
            self.held = torch.zeros(len(data), *shape, self.channels, dtype=torch.uint8, device=device)
            self.missing = set(range(len(data)))
            for batch in batches:
                self.held[batch["row"].to(device)] = self._seen(batch["image"]).permute(0, 2, 3, 1).to(device)
                self.missing.difference_update(batch["row"].tolist())
        if self.held is not None:
            data.leave_out_images(self.missing)

    def make(self, batch: Batch, parameters: list[Tensor]) -> Batch:
        """The batch with `views`, or `image` when there is but one, in place of `row` and `image` as they came.

        Args:
            batch: on the device.
            parameters: one per kind, as `AugmentationParameters` gives them, on the host.
        """
        row = batch.pop("row")
        image = batch.pop("image") if "image" in batch else self.held.index_select(0, row).permute(0, 3, 1, 2)
        image, views = with_channels(self._seen(image), 3), []
        for drawn, kind in zip(parameters, self.kinds, strict=False):  # validation has the first kind only
            views += make_views(image, drawn.view(torch.float32), kind.size)
        views = [view[:, : self.channels] for view in views]
        return batch | ({"views": views} if len(views) > 1 else {"image": views[0]})

    def _seen(self, image: Tensor) -> Tensor:
        """Images uint8 (B, 3, H, W), or (B, 1, H, W), with the channels of the views."""
        return with_channels(image, self.channels).to(torch.uint8)


def worth_holding(wanted: Resident, needed: int, device: torch.device) -> bool:
    """True if the device shall hold images of `needed` bytes; `auto` spends up to a quarter of a GPU's free memory.

    Raises:
        ConfigError: it shall, but has no room.
    """
    if device.type != "cuda":
        return wanted is True
    free, _ = torch.cuda.mem_get_info(device)
    if wanted is True and needed > free:
        raise ConfigError(
            f"data.cache_on_device is true, but the training images take {needed / 1e9:.1f} GB and {device} has "
            f"{free / 1e9:.1f} GB free: set data.cache_on_device auto"
        )
    return wanted is True or (wanted == "auto" and 4 * needed <= free)


def named(augment: Recipe | list[A.BasicTransform]) -> Chances:
    """The recipe of that name, for views that are made on the device.

    Raises:
        ConfigError: a list of transforms, or a policy.
    """
    if isinstance(augment, str) and not RECIPES[augment].policy:
        return RECIPES[augment]
    raise ConfigError(
        f"data.augment_device device makes the views of some named recipes only: set data.augment to one of "
        f"{', '.join(name for name, one in RECIPES.items() if not one.policy)}, or data.augment_device to cpu"
    )
