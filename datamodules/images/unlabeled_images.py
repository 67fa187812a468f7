"""A plain folder of images."""

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datamodules.base import DataModule, Split
from datamodules.finding import SUFFIXES, count_suffixes, find_images, left_out
from datamodules.images.image_data import ImageDataModule
from datamodules.inspection import MAX_PIXELS
from datamodules.letterbox import as_target_size
from datamodules.setting_roles import Role
from datamodules.source import Files
from modules.contracts import ConfigError, DataError


class UnlabeledImages(ImageDataModule):
    """All images below a folder, without labels: to predict, or to pretrain on.

    Args:
        root: the folder.
        image_size: side of the square images that the network sees, in pixels. Dense prediction gets whole images,
            letterboxed to this square or [height, width]; null keeps their own sizes.

    Raises:
        ConfigError: image_size is no side of squares, but the task sees squares.
        DataError: no such folder, or no images in it.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, image_size: int | tuple[int, int] | None = 64, **kwargs):
        # squares of another side than asked are never seen: `setup` refuses them
        super().__init__(image_size=image_size if isinstance(image_size, int) else 64, **kwargs)
        self.root, self.asked = Path(root).expanduser(), image_size

    @property
    def target_size(self) -> tuple[int, int] | None:
        return as_target_size(self.asked)

    def setup(self, stage: str | None = None) -> None:
        self.check_size()
        super().setup(stage)

    def check_size(self) -> None:
        """Check that squares have one side."""
        if not self.letterbox and not isinstance(self.asked, int):
            asked = list(self.asked) if self.asked else "null"
            raise ConfigError(f"data.image_size is {asked}, but this task sees squares: give the side of one")

    def sample(self, image: bytes | np.ndarray, name: str = "image", max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        self.check_size()
        return super().sample(image, name, max_pixels)

    def sources(self) -> dict[Split, Files]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        images = find_images(self.root)
        if not images:
            others = left_out(self.root, SUFFIXES)
            more = f" that can be read, only {count_suffixes(others)}" if others else ""
            raise DataError(f"{self.root} has no images{more}")
        return {"train": Files(self.root, np.array([os.fsencode(p.relative_to(self.root)) for p in images]), None)}

    def passed_over(self) -> list[Path]:
        return left_out(self.root, SUFFIXES)


def split_title(data: DataModule, split: Split) -> str:
    """Name of a split in titles: that of the folder of images without labels, where all of them are one split."""
    return data.root.resolve().name if isinstance(data, UnlabeledImages) and not data.has("val") else split
