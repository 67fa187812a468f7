"""Base of the data modules whose images have any number of classes at once: their tags."""

from typing import cast

import numpy as np

from datamodules.base import Split
from datamodules.images.image_data import ImageDataModule
from datamodules.source import Arrays, Files
from datamodules.split_data import extent
from modules.contracts import counted


class TaggedImages(ImageDataModule):
    """Base of the data modules of images with tags: any number of the classes, none included.

    Batches have `tags` uint8 (B, C), 1 where the image has the tag. Subsets and folds are even by the rarest tag of
    each image.
    """

    @property
    def tagged(self) -> bool:
        """False for images with a class each, or none, of a module that takes all of them."""
        return any(getattr(source, "tags", None) is not None for source, _ in self.splits.values())

    def class_counts(self) -> np.ndarray | None:
        if not self.tagged:
            return super().class_counts()
        return self._tags("train").sum(0) if "train" in self.splits else None

    def about(self, split: Split) -> str:
        if not self.tagged:
            return super().about(split)
        tags = self._tags(split)
        bare = int((tags.sum(1) == 0).sum())
        without = f"; without any: {bare:,}" if bare else ""
        mean = tags.sum() / max(1, len(tags))
        each = extent(tags.sum(0))
        images = f"{each} image{'s' * (each != '1')} each"
        return f" of {counted(len(self.classes or ()), 'tags')}, {mean:.1f} an image, on {images}{without}"

    def describe_classes(self, remedy: bool = True) -> list[str]:
        if not self.tagged:
            return super().describe_classes(remedy)
        split = self.evaluation_split
        if split is None or "train" not in self.splits:
            return []
        shares = self._tags(split).mean(0)
        lines = [f"no {split} image has any tag, so that mAP and F1 are not known"]
        if shares.any():
            constant = shares[shares > 0].mean()
            lines = [f"mAP without a network on {split}: {constant:.3f}, the same scores for every image"]
        counts, names = self._tags("train").sum(0), self.classes or []
        if lacking := [name for name, count in zip(names, counts, strict=True) if not count]:
            some = ", ".join(map(repr, lacking[:5])) + (", ..." if len(lacking) > 5 else "")
            lines.append(f"no training image has {counted(len(lacking), 'tags')}: {some}; nothing learns them")
        return lines

    def _tags(self, split: Split) -> np.ndarray:
        """Tags of the images of a split, int64 (N, C)."""
        source, rows = self.splits[split]
        tags = cast(np.ndarray, cast(Arrays | Files, source).tags)
        return tags[rows].astype(np.int64)
