"""Image files of annotations: finding them by name, and checking that their sizes are those annotated."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.decoding import read_header
from datamodules.detection.formats.raw import Image
from datamodules.file_names import posix, same_name, spelled
from datamodules.finding import SUFFIXES, is_registered
from datamodules.inspection import Inspection, inspect_all
from datamodules.split_data import first_clauses
from modules.contracts import DataError

OnError = Literal["raise", "skip"]


def measure(images: list[Image], on_error: OnError) -> tuple[np.ndarray, dict[int, str]]:
    """Heights and widths int32 (P, 2), and by row the problem of an unusable image, whose size is (0, 0).

    Raises:
        DataError: an image is unusable, and `on_error` is raise.
    """
    shapes, problems = np.zeros((len(images), 2), np.int32), {}
    there = [image.path for image in images if image.path]
    looked = dict(zip(there, inspect_all(there), strict=True))
    first: dict[Path | None, int] = {}
    for row, image in enumerate(images):
        found = _look(image, looked)
        if first.setdefault(image.path, row) != row and image.path:
            found = f"is the same file as {images[first[image.path]].where}"
        if isinstance(found, str):
            problems[row] = found
        else:
            shapes[row] = found
    if problems and on_error == "raise":
        clauses = [f"{images[row].where} {reason}" for row, reason in problems.items()]
        raise DataError(
            f"{len(clauses):,} of {len(images):,} images cannot be used: {first_clauses(clauses)}: mend "
            f"images or annotations, or set --data.on_error skip"
        )
    return shapes, problems


def first_of(sentences: list[str]) -> str:
    """The first sentence, and the number of further ones."""
    return f"{sentences[0]} (and {len(sentences) - 1:,} more such)" if len(sentences) > 1 else sentences[0]


def _look(image: Image, looked: dict[Path, Inspection]) -> tuple[int, int] | str:
    """Height and width, or the problem."""
    if image.path is None:
        return image.flaw or "is not there"
    found = looked[image.path]
    if found.problem:
        return found.problem
    if image.shape and image.shape != found.shape:
        return _other_size(image.path, found.shape, image.shape)
    return image.flaw or found.shape


def _other_size(path: Path, shape: tuple[int, int], annotated: tuple[int, int]) -> str:
    turned = read_header(path).orientation >= 5
    said = f"has {_size(shape)} pixels, but is annotated as {_size(annotated)}"
    if turned and annotated == shape[::-1]:
        return f"is stored on its side and turned by EXIF: upright it {said}, so which way its boxes lie is not known"
    return said


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[1]} x {shape[0]}"


class Places:
    """Lookup of image files by the names in annotations.

    Args:
        folders: candidates, the likeliest first.
    """

    def __init__(self, folders: Iterable[Path]):
        self.folders = [folder for folder in dict.fromkeys(folders) if folder.is_dir()]

    def find(self, name: str) -> Path | None:
        """Find by path from one of the folders on, else by name in one of them, else by name without suffix.

        Unicode form and case are ignored.
        """
        name = posix(name)
        last = name.rsplit("/", 1)[-1]
        for tail in dict.fromkeys((name, last)):
            for folder in self.folders:
                if is_registered(Path(tail).suffix.lower()) and (path := spelled(folder, tail)):
                    return path
        return self._by_stem(same_name(last)) or self._by_stem(same_name(last.rsplit(".", 1)[0]))

    def is_ambiguous(self, stem: str) -> bool:
        """True if two files in one of the folders have that name without suffix."""
        return len(self.stems.get(same_name(stem), [])) > 1

    def _by_stem(self, stem: str) -> Path | None:
        """The image of that name without suffix.

        Raises:
            DataError: there are two.
        """
        found = self.stems.get(stem, [None])
        if len(found) > 1:
            raise DataError(
                f"{found[0]} and {found[1].name} differ by their suffix alone, so which of them is annotated is "
                f"not known: rename or remove one"
            )
        return found[0]

    @cached_property
    def stems(self) -> dict[str, list[Path]]:
        """Images by normalized name without suffix, of the first folder that has some of that name."""
        found: dict[str, list[Path]] = {}
        for folder in self.folders:
            own: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES:
                    own.setdefault(same_name(path.stem), []).append(path)
            found = own | found
        return found
