"""Video files in class folders, in lists, or without classes."""

import os
from copy import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np

from datamodules.base import Split
from datamodules.class_folders import ClassFolders
from datamodules.inspection import MAX_PIXELS
from datamodules.setting_roles import Role
from datamodules.split_names import split_lists
from datamodules.video.files import ListFile, find_videos, read_classes
from datamodules.video.index import read_index
from datamodules.video.source import VideoFiles
from datamodules.video.videos_on_disk import DecodedVideos
from modules.contracts import DataError

MARKS = (
    (4, b"ftyp"),  # MP4, MOV
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"GIF8"),
    (0, b"\0\0\1\xba"),  # MPEG
    (0, b"\0\0\1\xb3"),
    (0, b"G@"),  # MPEG transport stream
    (0, b"FLV"),
    (0, b"OggS"),
    (0, b"\x30\x26\xb2\x75"),  # WMV
)
"""Places and first bytes of containers: FFmpeg also opens playlists, which name other files of this machine."""


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

    def sample(self, video: bytes | Path, name: str = "video", max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
        """The sample that `predict` makes of a video; `collate` makes a batch of several.

        Args:
            video: a file, or its content.
            name: its id, also for messages.
            max_pixels: of a frame; larger ones are not decoded.

        Raises:
            DataError: no video, a damaged one, or too large frames.
        """
        if isinstance(video, bytes):
            if not any(video[at:].startswith(mark) for at, mark in MARKS):
                raise DataError(f"{name} is {'no video file' if video else 'empty'}")
            with TemporaryDirectory() as folder:
                file = Path(folder, "video")  # FFmpeg seeks
                file.write_bytes(video)
                return self.sample(file, name, max_pixels)
        index = read_index(video, max_pixels)
        wrong, known = ({0: index}, None) if isinstance(index, str) else ({}, index)
        source: Any = VideoFiles(video.parent, np.array([os.fsencode(video.name)]), None, wrong, [known])
        if reason := self.broken(source):
            raise DataError(f"{name} {reason[0].removeprefix(f'{video} ')}")
        one = copy(self)
        one.splits = {"train": (source, np.zeros(1, np.int64))}
        samples: Any = one.dataset("train", "plain")
        try:
            return samples[(0, 0)] | {"id": name}
        except DataError as error:
            raise DataError(str(error).replace(str(video), name)) from error

    def sources(self) -> dict[Split, VideoFiles]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder")
        videos = find_videos(self.root)
        if not videos:
            raise DataError(f"{self.root} has no videos")
        paths = np.array([str(p.relative_to(self.root)).encode() for p in videos])
        return {"train": self.read(self.root, paths, None)}
