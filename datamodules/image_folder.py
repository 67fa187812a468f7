"""Pictures in one folder per class."""

import os
from pathlib import Path

import numpy as np

from datamodules.base import Split
from datamodules.image_data import ImageDataModule
from datamodules.source import Files, find_images
from datamodules.split_data import NAMES
from modules.contracts import DataError, nearest


class ImageFolder(ImageDataModule):
    """Pictures in one folder per class: `root/train/CLASS/*.jpg`, `val` and `test` beside it, or `root/CLASS/*.jpg`.

    Without a `val` folder, `val_split` of the training pictures becomes the validation set. Any size and mode.

    Args:
        root: the folder.

    Raises:
        DataError: no such folder, no pictures, an empty class, or classes that training lacks.
    """

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root)
        self.folders = self._folders()
        self.named = next(iter(self.folders.values()))  # training's, or a test set alone: its folders name the classes
        self.classes = self._classes(self.named)

    def sources(self) -> dict[Split, Files]:
        return {split: self._source(folder) for split, folder in self.folders.items()}

    def _folders(self) -> dict[Split, Path]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder{_similar(self.root)}")
        found = {s: self.root / n for s, names in NAMES.items() for n in names if (self.root / n).is_dir()}
        return found or {"train": self.root}

    def _classes(self, folder: Path) -> list[str]:
        classes = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        if not classes:
            hint = "for pictures without classes use --data Images" if find_images(folder) else "it is empty"
            raise DataError(f"{folder} has no class folders: {hint}")
        return classes

    def _source(self, folder: Path) -> Files:
        classes = self._classes(folder)
        for name in classes:
            if name not in self.classes:
                raise DataError(f"{folder} has a class {name!r} that {self.named} lacks{nearest(name, self.classes)}")
        paths, labels = [], []
        for name in classes:
            images = find_images(folder / name)
            if not images:
                raise DataError(f"{folder / name} has no pictures: remove the folder or fill it")
            paths += [os.fsencode(p.relative_to(self.root)) for p in images]
            labels += [self.classes.index(name)] * len(images)
        return Files(self.root, np.array(paths), np.array(labels))


def _similar(path: Path) -> str:
    parent = path.parent
    return (
        nearest(path.name, [p.name for p in parent.iterdir() if p.is_dir()])
        if parent.is_dir()
        else f" (nor is {parent})"
    )
