"""A plain folder of pictures."""

import os
from pathlib import Path

import numpy as np

from datamodules.base import Split
from datamodules.image_data import ImageDataModule
from datamodules.source import Files, find_images
from modules.contracts import DataError


class Images(ImageDataModule):
    """All pictures below a folder, without labels: to predict, or to pretrain on.

    Args:
        root: the folder.

    Raises:
        DataError: no such folder, or no pictures in it.
    """

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root)

    def setup(self, stage: str | None = None) -> None:
        if stage == "predict":
            self.val_split = 0.0  # predict all of them
        super().setup(stage)

    def sources(self) -> dict[Split, Files]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        images = find_images(self.root)
        if not images:
            raise DataError(f"{self.root} has no pictures")
        return {"train": Files(self.root, np.array([os.fsencode(p.relative_to(self.root)) for p in images]), None)}
