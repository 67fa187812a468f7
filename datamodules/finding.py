"""Finding image files: by suffix, below a folder, behind links too; and naming the files that are left out."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, features

from modules.contracts import DataError

SUFFIXES = set(
    ".jpg .jpeg .jpe .jfif .png .apng .bmp .dib .webp .tif .tiff .ppm .pgm .pbm .pnm .gif .tga .jp2 .j2k .qoi".split()
)
HEIF = {".heic", ".heif", ".hif"}
SILENT = set(
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .md .rst .html .pdf .log .db .sqlite .py .ipynb .sh .mat "
    ".npz .meta .pkl .pt .ckpt .safetensors .lock .sha256 .md5 .zip .tar .gz .tgz .7z .rar".split()
)
"""Suffixes of files that no search for images mentions: notes, annotations, archives."""

if features.check("avif"):
    SUFFIXES |= {".avif"}
if find_spec("pillow_heif"):
    import pillow_heif

    pillow_heif.register_heif_opener()
    SUFFIXES |= HEIF


def find_files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """All files below a folder whose suffix, in lower case, is one of `suffixes`, sorted.

    Links are followed, each folder once, so that links in a circle end. Hidden files and folders are passed over.
    """
    return sorted(path for path in walk(folder) if path.suffix.lower() in suffixes)


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted, as `find_files` finds them."""
    return find_files(folder, SUFFIXES)


def by_stem(folder: Path) -> dict[str, Path]:
    """All image files below a folder by their path from it on without suffix, to be paired with others by that.

    Raises:
        DataError: two of one name, such as cat.jpg and cat.png.
    """
    return one_each(find_images(folder), lambda path: str(path.relative_to(folder).with_suffix("")))


def one_each(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    """Files by a name without suffix.

    Raises:
        DataError: two of one name.
    """
    found: dict[str, Path] = {}
    twins = [(first, path) for path in paths if (first := found.setdefault(key(path), path)) != path]
    if twins:
        first, second = twins[0]
        more = f" ({len(twins):,} such pairs)" if len(twins) > 1 else ""
        raise DataError(
            f"{first} and {second.name} differ by their suffix alone, so which one belongs to the file of that name "
            f"beside is not known{more}: rename or remove one"
        )
    return found


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder that are not hidden, behind links too."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)  # noqa: PTH116  a string, and one per folder
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in files if not name.startswith("."))


def left_out(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """The files below a folder that a search for `suffixes` passes over, notes and annotations aside, sorted."""
    passed = {*suffixes, *SILENT, ""}
    return sorted(path for path in walk(folder) if path.suffix.lower() not in passed)


def count_suffixes(paths: Iterable[Path]) -> str:
    """A sentence that counts files by suffix, with a remedy for those of phones: `40 .heic, 2 .svg`."""
    counts = Counter(path.suffix.lower() for path in paths)
    said = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common())
    return f"{said}{remedy(counts)}"


def remedy(suffixes: Iterable[str]) -> str:
    """A hint on the package that reads files of these suffixes; empty if none is known."""
    return "; `pip install pillow-heif` makes .heic readable" if HEIF.intersection(suffixes) else ""


@cache
def is_registered(suffix: str) -> bool:
    """True if Pillow knows files of this suffix as images, readable here or not."""
    return suffix in HEIF or suffix in Image.registered_extensions()
