"""Base of the data modules that read image files: all are inspected before the first step, and scaled to one depth."""

from collections.abc import Sequence, Set
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from datamodules.base import Split
from datamodules.decoding import Span, decode_image
from datamodules.depth import find_span
from datamodules.duplicates import Listed
from datamodules.finding import SILENT, SUFFIXES
from datamodules.inspection import MAX_PIXELS, Inspection, inspect_all, inspect_content, pixel_limit
from datamodules.samples import drawn_images
from datamodules.setting_roles import Role
from datamodules.source import Files
from datamodules.split_data import Samples, SplitData
from modules.contracts import ConfigError, DataError, check_range
from modules.contracts.data_info import DataInfo


class ImageFilesData(SplitData):
    """Base of the data modules that read image files.

    Args:
        max_pixels: pixels that an image file may have; larger ones are refused before they fill the memory.
        value_range: [low, high], the values that become black and white in images of more than 8 bits; null finds them:
            0..1 or 0..255 for floats, as many bits as the highest value needs for whole numbers.
    """

    roles: ClassVar[dict[str, Role]] = {"max_pixels": "loading", "value_range": "input"}

    def __init__(self, max_pixels: int = MAX_PIXELS, value_range: Span | None = None, **kwargs):
        super().__init__(**kwargs)
        check_range("data.max_pixels", max_pixels, 1)
        if value_range and not value_range[0] < value_range[1]:
            raise ConfigError(f"data.value_range is {list(value_range)}, but it is a range such as [0, 4095]")
        self.max_pixels = max_pixels
        self.value_range = (float(value_range[0]), float(value_range[1])) if value_range else None
        self.depths: list[str] = []  # types of the values of images of more than 8 bits
        self.trained_depths: list[str] = []  # those that a checkpoint's value range is for
        self.rows: dict[str, int] = {}  # of the images that `predict` reads, by id
        self.looked: dict[int, list[Inspection]] = {}  # by the identity of `Files.paths`

    @property
    def evaluation_split(self) -> Split | None:
        """Split that baselines are computed on: val, or test without val."""
        return next((split for split in ("val", "test") if split in self.splits), None)

    def image_files(self, source: Samples) -> Files | None:
        """The image files of a source; null where images are in memory."""
        return source if isinstance(source, Files) else None

    def with_image_files(self, source: Samples, files: Files) -> Samples:
        """The same samples with their images from `files`."""
        return files

    def prepared(self, sources: dict[Split, Samples]) -> dict[Split, Samples]:
        found = {split: self.image_files(source) for split, source in sources.items()}
        found = {split: files for split, files in found.items() if files is not None}
        with pixel_limit(self.max_pixels):
            for files in found.values():
                self.looked[id(files.paths)] = inspect_all([files.path(i) for i in range(len(files))])
        usable = [row for files in found.values() for row in self.looked[id(files.paths)] if not row.problem]
        self.depths = sorted({row.depth for row in usable if row.depth})
        span, self.input_notes = find_span(usable, self.value_range, self.trained_depths)
        if span:
            self.hparams["value_range"] = list(span)  # a checkpoint hands on what it was trained with
        return sources | {
            split: self.with_image_files(sources[split], replace(files, span=span)) for split, files in found.items()
        }

    def broken(self, source: Samples) -> dict[int, str]:
        files = self.image_files(source)
        if files is None:
            return {}
        looked = self.looked[id(files.paths)]
        return {i: f"{files.path(i)} {row.problem}" for i, row in enumerate(looked) if row.problem}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"depths": self.depths}

    def adopt(self, known: dict[str, Any], typed: Set[str] = frozenset()) -> None:
        super().adopt(known, typed)
        self.trained_depths = [] if "value_range" in typed else known.get("depths") or []

    def passed_over(self) -> list[Path]:
        files = [self.image_files(source) for source, _ in self.splits.values()]
        paths = {f.path(i) for f in files if f is not None for i in range(len(f))}
        known = {*SUFFIXES, *SILENT, ""}
        beside = (path for folder in {path.parent for path in paths} for path in folder.iterdir())
        return sorted(
            path
            for path in beside
            if path.suffix.lower() not in known and not path.name.startswith(".") and path.is_file()
        )

    def decoded(self, content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
        """An image file's content as uint8 RGB (H, W, 3), with the data's own value range; see `decoded`."""
        return decoded(content, name, min(max_pixels, self.max_pixels), self.value_range, self.trained_depths)

    def original(self, name: str) -> np.ndarray:
        """The image of that id among those that `predict` reads, uint8 RGB (H, W, 3), as in its file."""
        source, rows = self.splits[self.predicted]
        self.rows = self.rows or {source.id(row): row for row in rows}
        return source.image(self.rows[name])

    def files_of(self, split: Split) -> Listed:
        source, rows = self.splits[split]
        files = self.image_files(source)
        return [] if files is None else [(files.path(i), self.looked[id(files.paths)][i].tail) for i in rows]

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), images=self.some_images)

    def some_images(self, count: int) -> Tensor | None:
        """Plain training images uint8 (N, C, H, W), up to `count`, drawn by the seed; null without training images."""
        return drawn_images(self.dataset("train", "plain"), self.collate, self.seed, count)

    def describe(self) -> list[str]:
        return [*super().describe(), *self.input_notes]


def decoded(
    content: bytes, name: str, max_pixels: int, value_range: Span | None = None, trained_depths: Sequence[str] = ()
) -> np.ndarray:
    """An image file's content as uint8 RGB (H, W, 3), inspected as files are before they are decoded.

    Args:
        content: of the file.
        name: for messages.
        max_pixels: larger images are not decoded.
        value_range, trained_depths: as of `find_span`.

    Raises:
        DataError: no image, a damaged one, or too large.
    """
    found = inspect_content(BytesIO(content), max_pixels)
    if found.problem:
        raise DataError(f"{name} {found.problem}")
    return decode_image(content, name, find_span([found], value_range, trained_depths)[0])
