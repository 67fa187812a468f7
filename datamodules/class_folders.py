"""Samples in one folder per class: `root/train/CLASS/...`, `val` and `test` beside it, or `root/CLASS/...`."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from datamodules.base import Split
from datamodules.file_names import composed
from datamodules.split_names import split_folders
from modules.contracts import DataError, suggest


class ClassFolders:
    """Samples of the class folders below `root`, by split.

    Args:
        root: the folder.
        find: the samples below a class folder, sorted.
        what: word for the samples, for messages.
        loose: the data module for such samples without classes.

    Attributes: `folders` of the splits, and `classes`, named by the folders of training, or of a test set alone;
    `unlabeled`, sentences about folders of splits without class folders, which are left out.

    Raises:
        DataError: no such folder, or no class folders.
    """

    def __init__(self, root: Path, find: Callable[[Path], list[Path]], what: str, loose: str):
        self.root, self.find, self.what, self.loose = root, find, what, loose
        self.unlabeled: list[str] = []
        self.folders = self._folders()
        self.named = next(iter(self.folders.values()))
        self.classes = [composed(name) for name in self._classes(self.named)]

    def samples(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Paths from `root` on as bytes (N,), and labels int64 (N,).

        Raises:
            DataError: an empty class, or one that training lacks.
        """
        paths, labels = [], []
        for name in self._classes(self.folders[split]):
            folder = self.folders[split] / name
            if composed(name) not in self.classes:
                hint = suggest(name, self.classes)
                raise DataError(f"{folder.parent} has a class {name!r} that {self.named} lacks{hint}")
            found = self.find(folder)
            if not found:
                raise DataError(f"{folder} has no {self.what}: remove the folder or fill it")
            paths += [os.fsencode(p.relative_to(self.root)) for p in found]
            labels += [self.classes.index(composed(name))] * len(found)
        return np.array(paths), np.array(labels)

    def _folders(self) -> dict[Split, Path]:
        if not self.root.is_dir():
            raise DataError(f"data.root {self.root} is not a folder{_similar(self.root)}")
        found = split_folders(self.root)
        if len(found) == 1 and len(_below(self.root)) > 1 and not _below(next(iter(found.values()))):
            return {"train": self.root}  # a class that is called like a split, beside others
        if not found:
            return {"train": self.root}
        first = next(iter(found))
        return {split: folder for split, folder in found.items() if split == first or self._has_labels(split, folder)}

    def _has_labels(self, split: Split, folder: Path) -> bool:
        """True if there are samples in class folders; else adds to `unlabeled`, because a flat test set is no error."""
        if any(self.find(folder / name) for name in _below(folder)):
            return True
        self.unlabeled.append(
            f"no {split} set: {folder} has no class folders with {self.what}, so there are no labels; predict them by "
            f"--data {self.loose} --data.root {folder}"
        )
        return False

    def _classes(self, folder: Path) -> list[str]:
        classes = sorted(_below(folder), key=composed)
        if not classes:
            hint = f"for {self.what} without classes use --data {self.loose}" if self.find(folder) else "it is empty"
            raise DataError(f"{folder} has no class folders: {hint}")
        return classes


def _below(folder: Path) -> list[str]:
    """The folders right below that are not hidden, sorted.

    Raises:
        DataError: the name of one is not in UTF-8, in which classes are saved.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    for name in names:
        shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if shown != name:
            raise DataError(f"{folder} has the folder {shown}, whose name is not in UTF-8: rename it")
    return names


def _similar(path: Path) -> str:
    parent = path.parent
    return (
        suggest(path.name, [p.name for p in parent.iterdir() if p.is_dir()])
        if parent.is_dir()
        else f" (nor is {parent})"
    )
