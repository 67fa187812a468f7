"""Images in one folder per class."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.class_folders import ClassFolders
from datamodules.finding import SUFFIXES, find_images, left_out
from datamodules.images.image_data import ImageDataModule
from datamodules.setting_roles import Role
from datamodules.source import Files


class ImageFolder(ImageDataModule):
    """Images in one folder per class: `root/train/CLASS/*.jpg`, `val` and `test` beside it, or `root/CLASS/*.jpg`.

    Without a `val` folder, `val_split` of the training images becomes the validation set. Any size and mode.

    Args:
        root: the folder.

    Raises:
        DataError: no such folder, no images, an empty class, or classes that training lacks.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        self.folders = ClassFolders(self.root, find_images, "images", "UnlabeledImages")
        self.classes, self.unlabeled = self.folders.classes, self.folders.unlabeled

    def sources(self) -> dict[Split, Files]:
        return {split: Files(self.root, *self.folders.samples(split)) for split in self.folders.folders}

    def passed_over(self) -> list[Path]:
        return [path for folder in self.folders.folders.values() for path in left_out(folder, SUFFIXES)]
