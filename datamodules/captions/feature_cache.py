"""Feature cache: maps of a frozen backbone, computed once and kept on disk."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from datamodules.cache import folder
from modules.contracts import DataError


class FeatureCache:
    """Feature maps (C, h, w) of N images as float16 in one memory-mapped file.

    Shared by workers, processes and later runs.

    Attributes: `path` of the file, null as long as nothing is cached.
    """

    path: Path | None = None

    def __getitem__(self, row: int) -> np.ndarray:
        """The map of an image.

        Raises:
            DataError: the image could not be read.
        """
        found = np.load(self.path, mmap_mode="r")[row]
        if np.isnan(found.flat[0]):
            raise DataError(f"image {row} of {self.path} could not be decoded")
        return found

    def use(self, path: Path) -> None:
        """Read maps from a file of `write`."""
        self.path = path

    @staticmethod
    def place(key: str) -> Path:
        """Path of the cache file for the digest `key`."""
        return folder() / "maps" / f"{key}.npy"

    def write(self, path: Path, count: int, parts: Iterable[tuple[list[int], np.ndarray]]) -> None:
        """Write the cache file atomically.

        Args:
            path: of the file.
            count: N.
            parts: rows and their maps (rows, C, h, w); missing rows could not be read.

        Raises:
            DataError: the file cannot be written.
        """
        partial, known = path.with_name(f"{path.name}.{os.getpid()}"), np.zeros(count, bool)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = None
            for rows, maps in parts:
                if file is None:
                    file = open_memmap(partial, "w+", np.float16, (count, *maps.shape[1:]))
                file[rows], known[rows] = maps, True
            file[~known] = np.nan
            file.flush()
            partial.replace(path)
        except OSError as error:
            raise DataError(
                f"cannot write {path}: {error.strerror or error}; free some space, set XDG_CACHE_HOME to another "
                "folder, or model.cache_features false"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
