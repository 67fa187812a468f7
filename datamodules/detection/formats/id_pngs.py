"""Instance-id PNG reader: one mask per image, 0 is background, every other value an object, as in PennFudan."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.base import Split
from datamodules.detection.formats.images import OnError
from datamodules.detection.formats.merge import merge
from datamodules.detection.formats.outlines import instances
from datamodules.detection.formats.raw import Image, Object, Raw
from datamodules.detection.objects import Annotations
from datamodules.finding import by_stem, find_images
from datamodules.segmentation.edges import check_edges
from datamodules.segmentation.files import Undecodable, read_mask
from datamodules.split_names import NAMES, split_folders
from modules.contracts import DataError

IMAGES = ("images", "PNGImages", "JPEGImages", "imgs")
MASKS = ("masks", "PedMasks", "instances", "instance_masks", "SegmentationObject")
ENDINGS = ("", "_mask", "_masks", "_instance", "_instances")  # behind an image's name in its mask's
DIVISOR = 1000  # with several classes, value // DIVISOR is the class, counted from 1, as in Cityscapes
NEEDS = "images/ and masks/ (PNGImages/ and PedMasks/), where the PNG of each image numbers its objects from 1"


class Folders(NamedTuple):
    """Folders of the images and of their masks of one split."""

    images: Path
    masks: Path


def find(root: Path) -> dict[Split, Folders]:
    """Find images and masks of each split: train/images beside train/masks, images/train beside masks/train.

    Else images beside masks are training's.
    """
    found: dict[Split, Folders] = {}
    pairs = [(i, m) for i in IMAGES for m in MASKS]
    inside, outside = {part: split_folders(root / part) for part in (*IMAGES, *MASKS)}, split_folders(root)
    for split in NAMES:
        places = [Folders(outside[split] / i, outside[split] / m) for i, m in pairs if split in outside]
        both = [(i, m) for i, m in pairs if split in inside[i] and split in inside[m]]
        places += [Folders(inside[i][split], inside[m][split]) for i, m in both]
        if both := next((p for p in places if p.images.is_dir() and p.masks.is_dir()), None):
            found[split] = both
    flat = next((p for i, m in pairs if (p := Folders(root / i, root / m)).images.is_dir() and p.masks.is_dir()), None)
    return found or ({"train": flat} if flat else {})


def read_id_pngs(root: Path, masks: bool, on_error: OnError = "raise", classes: list[str] | None = None) -> Annotations:
    """Images and the objects in their masks. The mask of images/a.jpg is masks/a.png or masks/a_mask.png.

    Args:
        classes: null is one class, `object`. With one class, every value is an object of it. With several, a value is
            1000 times the class, counted from 1 in this order, plus the object's number.

    Raises:
        DataError: no such folders, masks that are no numbers, a class beyond `classes`, or as `merge`.
    """
    found, classes = find(root), classes or ["object"]
    if not found:
        raise DataError(f"{root} has no id-PNGs: that is {NEEDS}")
    raws = {split: _raw(folders, classes) for split, folders in found.items()}
    for folders in found.values():
        check_edges(_readable(folders.masks), str(folders.masks))
    result = merge(root, raws, classes, [*range(1, len(classes) + 1)], masks, on_error)
    if note := _semantic(raws, classes):
        result.notes.append(note)
    return result


def _readable(folder: Path) -> Iterator[np.ndarray]:
    """Masks that can be decoded."""
    for path in find_images(folder):
        with suppress(Undecodable):
            yield read_mask(path)


def _raw(folders: Folders, classes: list[str]) -> Raw:
    raw, files, masks = Raw(str(folders.masks), "value {}"), by_stem(folders.images), by_stem(folders.masks)
    ending = max(ENDINGS, key=lambda e: sum(stem + e in masks for stem in files))
    for row, (stem, path) in enumerate(sorted(files.items(), key=lambda item: item[1])):
        mask = masks.pop(stem + ending, None)
        if mask is None:
            raw.images.append(Image(str(path), path, str(folders.masks), flaw=f"has no mask in {folders.masks}"))
        else:
            _add(raw, row, path, mask, classes)
    raw.images.extend(Image(f"the image of {mask}", None, str(mask)) for mask in sorted(masks.values()))
    return raw


def _add(raw: Raw, row: int, path: Path, mask: Path, classes: list[str]) -> None:
    try:
        numbers = read_mask(mask)
    except Undecodable as error:
        raw.images.append(Image(str(path), path, str(mask), flaw=f"has a mask that is damaged: {error}"))
        return
    raw.images.append(Image(f"{path}, with its mask {mask.name},", path, str(mask), numbers.shape))
    for value, runs in instances(numbers).items():
        label = value // DIVISOR - 1 if len(classes) > 1 else 0
        if not 0 <= label < len(classes):
            raise DataError(
                f"{mask} has the value {value}, but with {len(classes)} classes values are from {DIVISOR} to "
                f"{(len(classes) + 1) * DIVISOR - 1}, {DIVISOR} times the class plus the object: correct data.classes"
            )
        raw.objects.append(Object(row, value, None, label, outline={"size": [*numbers.shape], "counts": runs}))


def _semantic(raws: dict[Split, Raw], classes: list[str]) -> str:
    """A warning if the masks look like semantic masks (maps of classes); else empty."""
    values = np.array([o.index for raw in raws.values() for o in raw.objects])
    if len(classes) == 1 and len(values) and (values == values[0]).all() and values[0] == 255:
        return "every mask has at most one object, of value 255: these look like maps of classes, not of objects"
    return ""
