"""Data structures of annotated objects: boxes, classes and masks of an image, a split, a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from datamodules.base import Split
from datamodules.source import Files
from modules.contracts.keypoints import KeypointLayout

PROPOSAL = -1
"""The label of a proposal among the objects of an image."""

RLE = dict[str, Any]
"""COCO's compressed run lengths: {"size": [height, width], "counts": bytes}."""


@dataclass(frozen=True)
class Objects:
    """The objects of one image, in pixels of the original, upright image.

    Args:
        boxes: float32 (N, 4), xyxy, clipped to the image. N may be 0.
        labels: int64 (N,), 0..C-1.
        crowd: bool (N,), regions that evaluation ignores: COCO's crowds, VOC's difficult objects.
        area: float32 (N,), as annotated, else of the mask, else of the box.
        rles: N masks, or null where there are only boxes.
        keypoints: float32 (N, K, 3), x, y and COCO's visibility flag 0, 1 or 2; null where there are none.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    rles: list[RLE] | None
    keypoints: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def only(self, kept: np.ndarray) -> "Objects":
        """Select objects by bool (N,)."""
        if kept.all():
            return self
        rles = None if self.rles is None else [self.rles[i] for i in np.flatnonzero(kept)]
        points = None if self.keypoints is None else self.keypoints[kept]
        return Objects(self.boxes[kept], self.labels[kept], self.crowd[kept], self.area[kept], rles, points)


class ObjectSource(Protocol):
    """The images of one split and the objects in them."""

    labels = None
    """Null: images have no class."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """uint8 (H, W, 3)."""

    def id(self, index: int) -> str:
        """The image's id for users: its path below the root."""

    def shape(self, index: int) -> tuple[int, int]:
        """Height and width of the original image, without decoding it."""

    def objects(self, index: int) -> Objects: ...


@dataclass(frozen=True)
class Packed:
    """Byte strings in one array, so that workers share them: `text` uint8, and the end of each in it."""

    text: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes()


def packed(strings: list[bytes]) -> Packed:
    """Strings in one array, with the end of each."""
    return Packed(np.frombuffer(b"".join(strings), np.uint8), np.cumsum([len(s) for s in strings], dtype=np.int64))


@dataclass(frozen=True)
class ObjectFiles:
    """Image files with their objects, all held in a few arrays, so that workers share them.

    Args:
        files: the images.
        shapes: int32 (P, 2), height and width of each, upright.
        starts: int64 (P + 1,): the objects of image i are those from `starts[i]` to `starts[i + 1]`.
        boxes: float32 (M, 4) of all images.
        classes: int32 (M,).
        crowd: bool (M,).
        area: float32 (M,).
        counts: the compressed run-length encodings (RLE) of M masks, or null.
        keypoints: float32 (M, K, 3) as of `Objects`, or null.
    """

    files: Files
    shapes: np.ndarray
    starts: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    counts: Packed | None
    keypoints: np.ndarray | None = None
    labels: ClassVar[None] = None

    def __len__(self) -> int:
        return len(self.files)

    def image(self, index: int) -> np.ndarray:
        return self.files.image(index)

    def id(self, index: int) -> str:
        return self.files.id(index)

    def path(self, index: int) -> Path:
        return self.files.root / self.files.id(index)

    def shape(self, index: int) -> tuple[int, int]:
        height, width = self.shapes[index].tolist()
        return height, width

    def objects(self, index: int) -> Objects:
        start, end = self.starts[index : index + 2].tolist()
        part, size = slice(start, end), list(self.shape(index))
        rles = None if self.counts is None else [{"size": size, "counts": self.counts[i]} for i in range(start, end)]
        labels = self.classes[part].astype(np.int64)
        points = None if self.keypoints is None else self.keypoints[part].copy()
        boxes, crowd, area = (array[part].copy() for array in (self.boxes, self.crowd, self.area))
        return Objects(boxes, labels, crowd, area, rles, points)


@dataclass(frozen=True)
class Annotations:
    """Annotations of a data set, as a reader found them below a root.

    Args:
        classes: names, by class index.
        category_ids: id of each class index in the files; counted from 1 if they have only names.
        splits: images with their objects.
        image_ids: number of each image in the files, by `ObjectSource.id`; made from the path if they have none.
        dropped: a line for each annotation left out: file, index, reason.
        skipped: a line for each image left out because it is missing, damaged or of another size than annotated.
        notes: sentences about oddities that were left as they are.
        keypoints: their layout; null where there are none.
    """

    classes: list[str]
    category_ids: list[int]
    splits: dict[Split, ObjectFiles]
    image_ids: dict[str, int]
    dropped: list[str]
    skipped: list[str]
    notes: list[str]
    keypoints: KeypointLayout | None = None

    def report(self, shown: int = 5) -> list[str]:
        """Lines of the startup summary: counts and first examples of what was left out, then the notes."""
        images = sum(len(source) for source in self.splits.values())
        objects = sum(len(source.boxes) for source in self.splits.values())
        lines = []
        for name, out, kept in (
            ("images", self.skipped, images),
            ("annotations, listed in dropped.txt", self.dropped, objects),
        ):
            if out:
                lines.append(f"left out: {len(out):,} of {len(out) + kept:,} {name}")
                lines += [f"  {line}" for line in out[:shown]]
                lines += [f"  and {len(out) - shown:,} more"] if len(out) > shown else []
        return lines + self.notes
