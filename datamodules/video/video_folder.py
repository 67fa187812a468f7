"""Video files in class folders, in lists, or without classes."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.class_folders import ClassFolders
from datamodules.setting_roles import Role
from datamodules.split_names import split_lists
from datamodules.video.files import ListFile, find_videos, read_classes
from datamodules.video.source import VideoFiles
from datamodules.video.videos_on_disk import DecodedVideos
from modules.contracts import DataError


class VideoFolder(DecodedVideos):
    """Video files in one folder per class, or in lists: whatever FFmpeg opens (mp4, avi, mkv, mpeg, gif, ...).

    With `root/train.txt`, and `val.txt` and `test.txt` beside it, each line is a path below the root and a class, a
    number or a name; `root/classInd.txt` may name the numbers. Otherwise the layout is that of images:
    `root/train/CLASS/*.mp4`, `val` and `test` beside it, or `root/CLASS/*.mp4`. Without validation videos, `val_split`
    of the training ones are set aside.

    Args:
        root: the folder.

    Raises:
        DataError: no such folder, no videos, an empty class, classes that training lacks, or invalid lines.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        self.root = Path(root).expanduser()
        self.lists = {split: ListFile(path) for split, path in split_lists(self.root).items()}
        self.folders = None if self.lists else ClassFolders(self.root, find_videos, "videos", "Videos")
        self.unlabeled += self.folders.unlabeled if self.folders else []
        self.names = self._named() if self.lists else {}
        self.classes = list(dict.fromkeys(self.names.values())) if self.lists else self.folders.classes

    def sources(self) -> dict[Split, VideoFiles]:
        if self.folders:
            return {split: self.read(self.root, *self.folders.samples(split)) for split in self.folders.folders}
        labels = {key: self.classes.index(name) for key, name in self.names.items()}
        return {split: self.read(self.root, *listed.samples(labels)) for split, listed in self.lists.items()}

    def _named(self) -> dict[str, str]:
        """Class names by the names and numbers that lists may use."""
        path = self.root / "classInd.txt"
        if path.is_file():
            numbered = read_classes(path)
            return numbered | {name: name for name in numbered.values()}
        return {name: name for name in next(iter(self.lists.values())).names}


class Videos(DecodedVideos):
    """All video files below a folder, without classes: to predict.

    Args:
        root: the folder.
        val_split: share of them set aside for validation; none to predict.

    Raises:
        DataError: no such folder, or no videos in it.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, val_split: float = 0.0, **kwargs):
        super().__init__(val_split=val_split, **kwargs)
        self.root = Path(root).expanduser()

    def setup(self, stage: str | None = None) -> None:
        if stage == "predict":
            self.val_split = 0.0  # predict all of them
        super().setup(stage)

    def sources(self) -> dict[Split, VideoFiles]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        videos = find_videos(self.root)
        if not videos:
            raise DataError(f"{self.root} has no videos")
        paths = np.array([str(p.relative_to(self.root)).encode() for p in videos])
        return {"train": self.read(self.root, paths, None)}
