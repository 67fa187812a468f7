"""Videos as folders of frames."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.class_folders import ClassFolders
from datamodules.setting_roles import Role
from datamodules.video.probe import frame_folders
from datamodules.video.source import FrameFolders
from datamodules.video.videos_on_disk import VideosOnDisk
from modules.contracts import ConfigError


class FrameFolder(VideosOnDisk):
    """Folders of frames, each one video.

    `root/train/CLASS/VIDEO/*.jpg`, `val` and `test` beside it, or without splits `root/CLASS/VIDEO/*.jpg`. Frames come
    in the order of their names, so numbers in them need leading zeros.

    Args:
        root: the folder.
        rate: frames per second of all of them; needed only for `fps`.

    Raises:
        DataError: no such folder, no frames, an empty class, or classes that training lacks.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "rate": "samples"}

    def __init__(self, root: str, rate: float | None = None, **kwargs):
        super().__init__(**kwargs)
        if self.sampling.fps and not rate:
            raise ConfigError("data.fps is set, but folders of frames do not tell their rate: set data.rate too")
        self.root, self.rate = Path(root).expanduser(), rate
        self.folders = ClassFolders(self.root, _find_folders, "folders of frames", "VideoFolder")
        self.classes, self.unlabeled = self.folders.classes, self.folders.unlabeled

    def sources(self) -> dict[Split, FrameFolders]:
        folders = self.folders
        return {split: frame_folders(self.root, *folders.samples(split), self.rate) for split in folders.folders}


def _find_folders(folder: Path) -> list[Path]:
    """The folders right below that are not hidden, empty ones included, which are reported later."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
