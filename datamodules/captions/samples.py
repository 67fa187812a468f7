"""Datasets of images with captions, and their collate function."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from datamodules import samples as images
from datamodules.augment import Augment
from datamodules.cache import digest, stamp
from datamodules.captions.feature_cache import FeatureCache
from datamodules.letterbox import Letterbox
from datamodules.samples import ImageDataset
from datamodules.source import Arrays, Files
from datamodules.text.encoded import Ids, padded
from modules.contracts import Batch
from modules.text.tokens import BOS


@dataclass(frozen=True)
class Captioned(Files):
    """Image files, each with one caption or more."""

    captions: list[list[str]]

    def fingerprint(self, rows: np.ndarray) -> str:
        """A digest that changes when one of these images does."""
        return digest(stamp(self.root / self.id(i)) for i in rows)

    @classmethod
    def of(cls, root: Path, captions: dict[str, list[str]]) -> "Captioned":
        """The captions of each image, by its path below `root`."""
        return cls(root, np.array([os.fsencode(name) for name in captions]), None, list(captions.values()))


@dataclass(frozen=True)
class CaptionedArrays(Arrays):
    """Images in memory, each with one caption or more."""

    captions: list[list[str]]

    def fingerprint(self, rows: np.ndarray) -> str:
        """A digest that changes when one of these images does."""
        return hashlib.sha256(self.images[rows]).hexdigest()


class CaptionDataset(ImageDataset):
    """Samples of images with one caption as token ids, and all of them as text.

    Args:
        ids: of all captions of the source, one image's after the other's.
        draw: draw the caption at random by (seed, epoch, index); else take the first.
        features: cached feature maps, used in place of images once there are some.
        whole: give images as they are, with their size.
    """

    def __init__(
        self,
        source: Captioned | CaptionedArrays,
        indices: np.ndarray,
        make: Augment,
        seed: int,
        skip: bool,
        ids: Ids,
        draw: bool,
        features: FeatureCache | None = None,
        whole: bool = False,
    ):
        super().__init__(source, indices, [make], seed, skip)
        self.ids, self.draw, self.features, self.whole = ids, draw, features, whole
        self.starts = np.cumsum([0, *map(len, source.captions)])

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        captions = self.source.captions[index]
        chosen = np.random.default_rng((self.seed, epoch, index)).integers(len(captions)) if self.draw else 0
        if self.whole:
            sample = Letterbox(None)(self.source.image(index))
        else:
            cached = self.features if self.features and self.features.path else None
            sample = {"map": cached[row]} if cached is not None else super().content(epoch, row, index)
        return sample | {"captions": captions, "target": self.ids[self.starts[index] + chosen]}


def collate(samples: list[dict[str, Any]]) -> Batch:
    """Collate images, or feature maps `map` float16 (B, C, h, w) in place of `image`, with `target` int64 (B, T).

    BOS, one caption, EOS, padding; and `captions`: all of each image.
    """
    said, batch = images.readable(samples)
    if "map" in said[0]:
        batch["map"] = torch.from_numpy(np.stack([s["map"] for s in said]))
    else:
        batch |= images.collate(said)
    captions = {"captions": [s["captions"] for s in said], "target": padded([s["target"] for s in said], first=BOS)}
    return batch | captions
