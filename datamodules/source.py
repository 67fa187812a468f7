"""Sources of images: files that are read when needed, or an array in memory."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from datamodules.cache import digest, stamp
from datamodules.decoding import Span, read_image, read_shape


@dataclass(frozen=True)
class Arrays:
    """Images in memory: `images` uint8 (N, H, W, 3); `labels` int64 (N,) and `tags` uint8 (N, C), 0 or 1, or null."""

    images: np.ndarray
    labels: np.ndarray | None
    prefix: str
    tags: np.ndarray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every image."""
        return self.images.shape[1:3]

    def image(self, index: int) -> np.ndarray:
        return self.images[index]

    def id(self, index: int) -> str:
        return f"{self.prefix}/{index:06d}"

    def fingerprint(self) -> str:
        """A digest that changes with any image or label."""
        parts = [one for one in (self.images, self.labels, self.tags) if one is not None]
        return digest([a.shape, sha256(np.ascontiguousarray(a)).hexdigest()] for a in parts)


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Image files of one depth.

    Args:
        span: the values that become 0 and 255 in files of more than 8 bits; null for the whole range of their type.
    """

    span: Span | None = None


@dataclass(frozen=True)
class Files(Depth):
    """Image files below `root`: `paths` as bytes in one array, so that workers share them.

    Args:
        root: the folder.
        paths: bytes (N,), from there on.
        labels: class of each, int64 (N,), or null.
        tags: classes of each, uint8 (N, C), 0 or 1, or null.
    """

    root: Path
    paths: np.ndarray
    labels: np.ndarray | None
    tags: np.ndarray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the images, upright; null when they differ. Opens files until one differs."""
        known = None
        for i in range(len(self)):
            shape = read_shape(self.path(i))
            if shape and known and shape != known:
                return None
            known = known or shape
        return known

    def image(self, index: int) -> np.ndarray:
        return read_image(self.path(index), self.span)

    def id(self, index: int) -> str:
        return os.fsdecode(self.paths[index])

    def path(self, index: int) -> Path:
        return self.root / self.id(index)

    def fingerprint(self) -> str:
        """A digest that changes with any label, the span and, as far as size and time of change tell, any file."""
        labels = [] if self.labels is None else self.labels.tolist()
        labels += [] if self.tags is None else self.tags.tolist()
        return digest([labels, *([self.span] if self.span else []), *(stamp(self.path(i)) for i in range(len(self)))])


Source = Arrays | Files
