"""A data module from plain torch datasets."""

from collections.abc import Sequence, Sized
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset
from torchvision.datasets.vision import StandardTransform

from datamodules.base import DataModule, Split
from datamodules.images.tagged_images import TaggedImages
from datamodules.setting_roles import Role
from modules.contracts import ConfigError, DataError
from modules.contracts.data_info import class_names

WHITE = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}  # modes of 8 bits and less
ANSWER = "a label is a whole number from 0 on, one per image, or a vector of 0 and 1 as long as there are classes"


class FromDataset(TaggedImages):
    """Images of map-style `torch.utils.data.Dataset`s, such as torchvision's.

    An item is an image, a pair of image and label, or a dict with the keys `image` and `label`. Images are PIL images,
    tensors (C, H, W) or arrays (H, W, C) or (H, W), with 1 or 3 channels: uint8 in 0..255, or floats in 0..1, of any
    size; cropping, augmentation and normalization follow here. Labels are whole numbers 0..C-1, or vectors (C,) of 0
    and 1, the tags of an image.

    Args:
        train: training images.
        val: validation images; null sets `val_split` of the training images aside.
        test: test images.
        classes: class names in order of their index; null takes the dataset's attribute `classes`, or the numbers.

    Raises:
        ConfigError: a dataset without length, or classes that are no list of different names.
        DataError: an item is something else, its values cannot be told, only some items have labels, or some have one
            class and others tags.
    """

    roles: ClassVar[dict[str, Role]] = {
        "train": "location",
        "val": "location",
        "test": "location",
        "classes": "samples",
    }

    def __init__(
        self,
        train: Dataset,
        val: Dataset | None = None,
        test: Dataset | None = None,
        classes: list[str] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        given: dict[Split, Dataset | None] = {"train": train, "val": val, "test": test}
        self.given = {split: _Images(data, split) for split, data in given.items() if data is not None}
        sources = [*self.given.values()]
        if not all(source.labeled for source in sources):
            if classes is not None or any(source.labeled for source in sources):
                raise DataError(
                    f"some of data.{', data.'.join(self.given)} have labels and some none: give all or none"
                )
            return
        count = max(source.needed for source in sources)
        names = class_names(getattr(_whole(train), "classes", None) if classes is None else classes, "data.classes")
        if names and classes is not None and len(set(names)) < len(names):
            raise ConfigError(f"data.classes names a class twice: {', '.join(names)}")
        self.classes = names or [str(number) for number in range(count)]
        if all(source.tags is None for source in sources):
            if count > len(self.classes):
                raise DataError(f"label {count - 1} is beyond the {len(self.classes)} classes of data.classes")
        elif odd := next((one for one in sources if one.tags is None or one.needed != len(self.classes)), None):
            has = "a class per image" if odd.tags is None else f"vectors of {odd.needed} tags"
            raise DataError(
                f"data.{odd.split} has {has}, but a label must have a 0 or 1 for each of {len(self.classes)} classes"
            )

    def sources(self) -> dict[Split, "_Images"]:
        return dict(self.given)

    cached = DataModule.cached  # nothing tells whether a dataset has changed


class _Images:
    """Source of images: the items of a dataset."""

    shape = None  # images may differ in size

    def __init__(self, data: Dataset, split: Split):
        if isinstance(data, IterableDataset) or not isinstance(data, Sized) or not hasattr(data, "__getitem__"):
            raise ConfigError(f"data.{split} is a {type(data).__name__} without length or index: give a map-style one")
        self.data, self.split = data, split
        if len(self):
            self.image(0)
        found = self._labels()
        self.labeled = found is not None
        self.tags = found.astype(np.uint8) if found is not None and found.ndim == 2 else None
        self.labels = found.astype(np.int64) if found is not None and found.ndim == 1 else None

    def __len__(self) -> int:
        return len(self.data)

    @property
    def needed(self) -> int:
        """Classes that the labels tell of."""
        if self.tags is not None:
            return self.tags.shape[1]
        return 0 if self.labels is None else 1 + int(self.labels.max(initial=-1))

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3)."""
        image, _ = self._item(index)
        try:
            return as_bytes(image)
        except ValueError as error:
            raise DataError(f"data.{self.split}, item {index}: {error}") from error

    def id(self, index: int) -> str:
        return f"{self.split}/{index:06d}"

    def _labels(self) -> np.ndarray | None:
        """Whole numbers (N,), or 0 and 1 (N, C); null where items have none.

        As the dataset lists them in `targets`, else from its items.
        """
        listed = _targets(self.data, self.split)
        labels = listed if listed is not None else [self._item(i)[1] for i in range(len(self))]
        lacking = [index for index, label in enumerate(labels) if label is None]
        if lacking:
            if len(lacking) < len(labels):
                raise DataError(f"data.{self.split}, item {lacking[0]} has no label, but others have: give all or none")
            return None
        try:
            found = np.asarray(labels)
        except ValueError as error:  # of several lengths
            raise DataError(f"data.{self.split}: {ANSWER}") from error
        one = found.ndim == 1 and (not len(found) or (found.dtype.kind in "iu" and found.min() >= 0))
        several = found.ndim == 2 and found.dtype.kind in "biuf" and bool(np.isin(found, (0, 1)).all())
        if not (one or several):
            raise DataError(f"data.{self.split}: {ANSWER}")
        return found

    def _item(self, index: int) -> tuple[Any, Any]:
        """Image and label, or null, of an item."""
        item = self.data[index]
        if isinstance(item, dict) and "image" in item and item.keys() <= {"image", "label", "id"}:
            item = (item["image"], item.get("label"))
        image, label = (*item, None)[:2] if isinstance(item, tuple | list) and len(item) in (1, 2) else (item, None)
        if not isinstance(image, Image.Image | Tensor | np.ndarray) or isinstance(label, dict | list | tuple | str):
            found = f"a dict of {', '.join(map(str, item))}" if isinstance(item, dict) else _kinds(item)
            raise DataError(
                f"data.{self.split}, item {index} is {found}, but must be an image, (image, label) or a dict of image "
                f"and label: for masks, boxes and others derive a class from DataModule"
            )
        if label is None:
            return image, None
        return image, np.asarray(label) if np.ndim(label) else np.asarray(label).item()


def as_bytes(image: Image.Image | Tensor | np.ndarray) -> np.ndarray:
    """An image as uint8 (H, W, 3).

    Args:
        image: PIL image, tensor (C, H, W) or array (H, W, C), uint8 or floats in 0..1.

    Raises:
        ValueError: other shapes or values.
    """
    if 0 in (image.size if isinstance(image, Image.Image) else image.shape):
        raise ValueError("an image without pixels: leave it out")
    if isinstance(image, Image.Image):
        if image.mode not in WHITE:
            raise ValueError(f"a PIL image of mode {image.mode} has no known white: convert it to RGB")
        return np.asarray(image.convert("RGB"))
    if isinstance(image, Tensor):
        known = image.float() if image.dtype == torch.bfloat16 else image  # NumPy has no bfloat16
        layout, pixels = "tensor (C, H, W)", known.detach().cpu().numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    else:
        layout, pixels = "array (H, W, C)", image
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"an image of shape {tuple(image.shape)} is no {layout} of 1 or 3 channels: change its layout")
    if pixels.dtype.kind == "f":
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:
            raise ValueError(
                f"floats from {low:.3g} to {high:.3g}, but images are uint8 in 0..255 or floats in 0..1: leave "
                f"normalization to the task"
            )
        pixels = np.round(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise ValueError(f"an image of {pixels.dtype}, but images are uint8 in 0..255 or floats in 0..1: convert it")
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _targets(data: Dataset, split: Split) -> Sequence[int] | None:
    """Labels as torchvision's datasets list them; null for others.

    Raises:
        DataError: it lists more or fewer than it has items.
    """
    if isinstance(data, Subset):
        whole = _targets(data.dataset, split)
        return None if whole is None else [whole[i] for i in data.indices]
    both = getattr(data, "transforms", None)  # of image and label
    changed = getattr(data, "target_transform", None) or not (both is None or isinstance(both, StandardTransform))
    listed = None if changed else getattr(data, "targets", None)
    if listed is not None and len(listed) != len(data):
        raise DataError(
            f"data.{split}: targets of {type(data).__name__} has {len(listed)} labels for {len(data)} items"
        )
    return listed


def _whole(data: Dataset) -> Dataset:
    return _whole(data.dataset) if isinstance(data, Subset) else data


def _kinds(item: Any) -> str:
    parts = item if isinstance(item, tuple | list) else [item]
    return " and ".join(type(part).__name__ for part in parts)
