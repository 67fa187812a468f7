"""Base of the semantic segmentation data modules."""

import re
from collections.abc import Set
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import albumentations as A
import numpy as np
from torch.utils.data import Dataset

from datamodules.augment import Recipe, center_square
from datamodules.base import MEANING, Purpose, Split
from datamodules.image_files import ImageFilesData
from datamodules.letterbox import Letterbox, as_target_size, check_scale, sizes_in_words
from datamodules.pairs import Pairs
from datamodules.samples import ImageDataset
from datamodules.segmentation.augment import MaskAugment
from datamodules.segmentation.baselines import most_frequent, per_position
from datamodules.segmentation.mask_statistics import (
    MaskStatistics,
    check,
    class_counts,
    common_shape,
    count_pixels,
    found_values,
)
from datamodules.segmentation.samples import MaskDataset
from datamodules.setting_roles import Role
from datamodules.source import Files
from datamodules.tiles import MaskTiles, tiling
from modules.contracts import IGNORE, ConfigError, DataError, check_range
from modules.contracts.data_info import DataInfo
from modules.contracts.palette import RGB, palette
from modules.contracts.preprocessing import Preprocessing

BAR = 24  # characters of the longest bar of a histogram
VOID = re.compile(r"\b(void|ignored?|unlabell?ed)\b", re.IGNORECASE)


class MaskDataModule(ImageFilesData):
    """Base of the data modules of images with semantic maps: a class for every pixel, or 255 for none.

    Evaluation and prediction see the whole image, letterboxed to `image_size` (aspect ratio kept, padded at the right
    and bottom); training sees random crops of that size.

    Args:
        image_size: height and width of what the network sees, in pixels; one number is a square; null keeps each
            image's own size, padded to the largest of its batch, and trains only on images of one size.
        scale: range of the random scale of training images, 1 being the whole image fitted into `image_size`.
        augment: after scale and crop: `none`, `flip`, `simclr` (flip, color jitter, gray, blur above 64 pixels),
            `strong` (the same with any hue), or albumentations transforms of uint8 images and their maps.
        balanced: class-balanced sampling: probability 0..1 that a crop is centered on a pixel of a class drawn
            uniformly among those in the image, so that rare classes are seen more often.
        tile_size: side in pixels of the overlapping tiles that training images are cut into, each a sample; null takes
            crops of whole images. Images keep their own size (`image_size` null).
        tile_overlap: share of a tile that neighbors have in common, at least, [0, 1).

    Raises:
        ConfigError: a setting out of range, or transforms that do not work.
        DataError: maps and images that do not fit together.
    """

    classes: list[str]
    letterbox = True

    roles: ClassVar[dict[str, Role]] = {
        "image_size": "input",
        "scale": "training",
        "augment": "training",
        "balanced": "training",
        "tile_size": "training",
        "tile_overlap": "training",
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] | None = 256,
        scale: tuple[float, float] = (0.5, 2.0),
        augment: Recipe | list[A.BasicTransform] = "flip",
        balanced: float = 0.0,
        tile_size: int | None = None,
        tile_overlap: float = 0.25,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_scale(scale)
        check_range("data.balanced", balanced, high=1)
        self.tiling = tiling(tile_size, tile_overlap, as_target_size(image_size))
        self.target_size, self.scale = as_target_size(image_size), tuple(scale)
        self.augment, self.balanced = augment, balanced
        size = (tile_size, tile_size) if tile_size else self.target_size
        self.crops = self._crops(size) if size else None
        self.plain = center_square(self.target_size)
        self._statistics: dict[int, MaskStatistics] = {}

    def sources(self) -> dict[Split, Pairs]:
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        super().setup(stage)
        for source, _ in self.splits.values():
            check(source, self.statistics(source))
        self._check_void()
        self.palette = self.palette or self._found_palette()
        self.mask_values = self.file_values(next(iter(self.splits.values()))[0].legend.values)

    def file_values(self, values: tuple[int, ...]) -> list[int]:
        """The value of each class in the data's own files; `values` are those of its maps."""
        return list(values)

    def adopt(self, known: dict[str, Any], typed: Set[str] = frozenset()) -> None:
        """Take no meaning of mask values: the data's own masks define it."""
        super().adopt({key: value for key, value in known.items() if key not in MEANING}, typed)

    def image_files(self, source: Pairs) -> Files | None:
        return super().image_files(source.images)

    def with_image_files(self, source: Pairs, files: Files) -> Pairs:
        return replace(source, images=files)

    def broken(self, source: Pairs) -> dict[int, str]:
        images = super().broken(source)
        masks = {
            i: f"{source.maps.path(i)} cannot be decoded" for i, row in enumerate(self.statistics(source)) if not row
        }
        return {i: images.get(i) or masks[i] for i in sorted({*images, *masks})}

    def statistics(self, source: Pairs) -> MaskStatistics:
        """Statistics of the source's maps, counted once."""
        key = id(source.maps)
        if key not in self._statistics:
            self._statistics[key] = count_pixels(source)
        return self._statistics[key]

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        """The samples of a split; `plain` is the center crop, of the shorter side of `image_size`, or 224 pixels."""
        if split not in self.splits:
            return None
        (source, indices), skip = self.splits[split], self.on_error == "skip"
        if purpose == "plain":
            return ImageDataset(source, indices, [self.plain], 0, skip)
        if purpose == "evaluate":
            letterbox = Letterbox(None if self.original_size else self.target_size)
            return MaskDataset(source, indices, letterbox, 0, skip)
        crops = self.crops or self._crops(self._own_size(split))
        source, indices = (source, indices) if self.tiles is None else (self.tiles, np.arange(len(self.tiles)))
        return MaskDataset(source, indices, crops, self.seed, skip)

    @cached_property
    def tiles(self) -> MaskTiles | None:
        """The tiles of the training images, to be had after `setup`; null for whole images."""
        source, indices = self.splits["train"]
        known = self.statistics(source)
        return self.tiling.maps(source, indices, [known[i].image for i in indices]) if self.tiling else None

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing("letterbox", self.target_size)

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), class_pixels=self.class_pixels)

    def class_pixels(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Training pixels of each class, and labeled pixels of the images that show it, int64 (C,); null for none."""
        if "train" not in self.splits:
            return None
        counts = self._counts("train")[:, :-1]
        return counts.sum(0), (counts.sum(1, keepdims=True) * (counts > 0)).sum(0)

    def baselines(self) -> dict[str, float]:
        """mIoU of trivial baselines on val, or test without val.

        `most_frequent`, the most frequent class of the training pixels, and `per_position`, that of each position, if
        all images are of one size.
        """
        evaluated = self.evaluation_split
        if evaluated is None or "train" not in self.splits:
            return {}
        train, counts = (self._counts(split)[:, :-1].sum(0) for split in ("train", evaluated))
        found = {"most_frequent": most_frequent(train, counts)}
        shape = self._shape("train")
        if shape and shape == self._shape(evaluated):
            found["per_position"] = per_position(self.splits["train"], self.splits[evaluated], shape)
        return found

    def about(self, split: Split) -> str:
        source, indices = self.splits[split]
        return f" of {sizes_in_words(np.array([self.statistics(source)[i].image for i in indices]))} pixels"

    def more(self) -> list[str]:
        if "train" not in self.splits:
            return []
        lines = histogram(self.classes, self._counts("train"))
        lines += [self.tiles.about(len(self.splits["train"][1]))] if self.tiles is not None else []
        found = self.baselines()
        names = {"most_frequent": "the most frequent class everywhere", "per_position": "that of each position"}
        said = " and ".join(f"{value:.3f} for {names[key]}" for key, value in found.items())
        return [*lines, f"mIoU without a network on {self.evaluation_split}: {said}"] if found else lines

    def _counts(self, split: Split) -> np.ndarray:
        source, indices = self.splits[split]
        return class_counts(source, self.statistics(source), indices)

    def _shape(self, split: Split) -> tuple[int, int] | None:
        source, indices = self.splits[split]
        return common_shape(self.statistics(source), indices)

    def _crops(self, size: tuple[int, int]) -> MaskAugment:
        return MaskAugment(size, self.scale, self.balanced, self.augment)

    def _own_size(self, split: Split) -> tuple[int, int]:
        size = self._shape(split)
        if size is None:
            raise ConfigError(
                "data.image_size is null, but the training images differ in size: give the height and width of crops"
            )
        return size

    def _found_palette(self) -> list[RGB]:
        """The colors in the mask files, if they differ for all classes; else those of Pascal VOC."""
        source = next(iter(self.splits.values()))[0]
        values, found = source.legend.values, source.maps.palette()
        chosen = [found[v] for v in values] if found and max(values) < len(found) else []
        gray = all(len(set(color)) == 1 for color in chosen)
        return palette(len(values)) if gray or len(set(chosen)) < len(values) else chosen

    def _check_void(self) -> None:
        """Refuse a class named like void beside void pixels: it was meant to be void too."""
        source = next(iter(self.splits.values()))[0]
        named = next((name for name in self.classes if VOID.search(name)), None)
        values = {v for s, _ in self.splits.values() for v in found_values(self.statistics(s))}
        if named and IGNORE in values & source.legend.ignored:
            number = source.legend.values[self.classes.index(named)]
            raise DataError(
                f"class {named!r} (value {number}) looks like void, for which the masks also have {IGNORE}: "
                f"set data.ignore to {number} if it is, or give the class another name"
            )


def histogram(classes: list[str], counts: np.ndarray) -> list[str]:
    """Lines of the startup summary: class shares from pixels per map, int64 (N, C + 1) with void last."""
    total, shown = counts.sum(0), (counts[:, :-1] > 0).sum(0)
    labeled = max(1, total[:-1].sum())
    wide, most = max(map(len, classes)), max(1, total[:-1].max())
    void = 100 * total[-1] / total.sum()
    lines = [f"classes by their share of the labeled training pixels ({void:.1f} % of all are void):"]
    for name, pixels, images in zip(classes, total, shown, strict=False):
        bar = "█" * -(-BAR * pixels // most)
        lines.append(f"  {name:{wide}} {100 * pixels / labeled:6.2f} %  {images:6,} images  {bar}".rstrip())
    if missing := [name for name, pixels in zip(classes, total, strict=False) if not pixels]:
        names = ", ".join(map(repr, missing))
        lines.append(f"warning: no training mask shows {names}: what never occurs cannot be learned")
    return lines
