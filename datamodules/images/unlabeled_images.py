"""A plain folder of images."""

import os
from collections.abc import Sequence
from copy import copy
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.decoding import Span, decode_image
from datamodules.depth import find_span
from datamodules.finding import SUFFIXES, count_suffixes, find_images, left_out
from datamodules.images.image_data import ImageDataModule
from datamodules.inspection import MAX_PIXELS, inspect_content
from datamodules.letterbox import as_target_size
from datamodules.setting_roles import Role
from datamodules.source import Arrays, Files
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
        """The sample that `predict` makes of an image; `collate` makes a batch of several.

        Images of more than 8 bits are scaled by `value_range`, or by their own values where it is null.

        Args:
            image: the content of an image file, or uint8 RGB (H, W, 3).
            name: its id, also for messages.
            max_pixels: of the file, beside the setting; larger ones are not decoded.

        Raises:
            DataError: no image, a damaged one, or too large.
        """
        self.check_size()
        if isinstance(image, bytes):
            limit = min(max_pixels, self.max_pixels)
            image = decoded(image, name, limit, self.value_range, self.trained_depths)
        elif image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DataError(f"{name} is {image.dtype} {image.shape}, but an image is uint8 RGB (H, W, 3)")
        one = copy(self)
        one.splits = {"train": (Arrays(image[None], None, name), np.zeros(1, np.int64))}
        samples: Any = one.dataset("train", "evaluate" if self.letterbox else "plain")
        return samples[(0, 0)] | {"id": name}

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
