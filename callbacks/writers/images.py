"""Files of one image each, in folders by their kind, under the images' own paths."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os.path import splitext
from pathlib import Path, PurePosixPath
from typing import IO, Any

import cv2
import numpy as np

from callbacks.collectors.base import arrays, visible
from modules.contracts import Backbone, Batch, writing

LARGEST = 2048  # pixels of the longer side of an image that is drawn on


class ImageFiles:
    """Write one file per image into folders by kind, at the image's own path with another ending.

    The image's own ending is kept where images differ only in it, and until all are written: a.jpg.png.

    Args:
        folder: parent of the folders.
        rank: of this process.
        endings: kind -> ending of its files, with the dot; the kind is the name of the folder.
    """

    def __init__(self, folder: Path, rank: int, endings: dict[str, str]) -> None:
        self.folder, self.rank, self.endings = folder, rank, endings
        self.kinds: dict[str, None] = {}  # already written, in order of appearance

    @contextmanager
    def open(self, kind: str, name: str) -> Iterator[IO[bytes]]:
        """Open a new file for the image of that id; it gets its name when it is complete."""
        self.kinds[kind] = None
        path = self._path(kind, inside(name))
        part = path.with_name(f"{path.name}.{self.rank}.tmp")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    yield file
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def finalize(self, names: Iterable[str]) -> list[Path]:
        """Give the files of all images, by their ids, their final names; returns the folders."""
        for name, stem in stems(names).items():
            for kind in self.kinds:
                path = self._path(kind, inside(name))
                with writing(path):
                    path.replace(self._path(kind, stem))
        return [self.folder / kind for kind in self.kinds]

    def _path(self, kind: str, stem: str) -> Path:
        return self.folder / kind / (stem + self.endings[kind])


def inside(name: str) -> str:
    """An image's id as a path that stays below a folder: `/a.jpg` becomes `_root/a.jpg`, `../a.jpg` `_up/a.jpg`."""
    parts = PurePosixPath(name).parts
    return "/".join({"..": "_up"}.get(part, "_root" if part.startswith("/") else part) for part in parts) or "_"


def stems(names: Iterable[str]) -> dict[str, str]:
    """File name stem of each image: its path without suffix, or with it where two images would share a stem."""
    paths = {name: inside(name) for name in names}
    short = {name: splitext(path)[0] for name, path in paths.items()}  # noqa: PTH122 - pathlib fails at ..jpg since 3.13
    # a.jpg.tif is a.jpg without suffix, and may stand beside an a.jpg that keeps its own
    wanted = Counter(stem for name in paths for stem in {paths[name], short[name]})
    return {name: short[name] if wanted[short[name]] == 1 else paths[name] for name in paths}


def seen(batch: Batch, backbone: Backbone) -> list[np.ndarray]:
    """Images of a batch as the network sees them, uint8 (h, w, 3), without padding."""
    images = arrays(visible(batch["image"], backbone))
    parts = batch["inside"].tolist() if "inside" in batch else [image.shape[:2] for image in images]
    return [image[:height, :width] for image, (height, width) in zip(images, parts, strict=True)]


def originals(batch: Batch, backbone: Backbone, data: Any) -> Iterator[np.ndarray]:
    """Images of a batch to be drawn on, uint8 (h, w, 3): as in their files, at most `LARGEST` pixels wide and high.

    Where the data does not give an image in more pixels than the network sees, that one is resized.

    Args:
        batch: letterboxed images, with `size`.
        backbone: undoes the normalization.
        data: data module, whose `original(id)` gives an image.
    """
    for name, image, size in zip(batch["id"], seen(batch, backbone), batch["size"].tolist(), strict=True):
        factor = min(1.0, LARGEST / max(size))
        height, width = (max(1, round(side * factor)) for side in size)
        if image.shape[0] < height and hasattr(data, "original"):
            image = data.original(name)
        yield resized(image, (height, width))


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image resized to (height, width): area averaging to shrink, bilinear to enlarge."""
    shrinks = shape[0] < image.shape[0]
    size = shape[1], shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
