"""Which mask file belongs to which picture: by name in two folders, or by a list."""

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from datamodules.pairs import Legend, Pairs
from datamodules.semantic.files import MaskFiles, encoded
from datamodules.source import Files, find_images
from modules.contracts import DataError

Paths = list[tuple[Path, Path]]
"""Picture and mask."""


def in_folders(images: Path, masks: Path, suffix: str = "") -> Paths:
    """Pictures and masks of the same place and name in two folders.

    Args:
        suffix: what masks have behind the picture's name: `_mask` in cat.jpg and cat_mask.png.

    Raises:
        DataError: an empty folder, or files without a partner.
    """
    pictures = {str(p.relative_to(images).with_suffix("")): p for p in find_images(images)}
    found = {str(p.relative_to(masks).with_suffix("")): p for p in find_images(masks)}
    for folder, files in ((images, pictures), (masks, found)):
        if not files:
            raise DataError(f"{folder} has no pictures: fill it, or point --data.root elsewhere")
    lonely = [f"{name}{p.suffix}" for name, p in pictures.items() if name + suffix not in found]
    wanted = {name + suffix for name in pictures}
    spare = [f"{name}{p.suffix}" for name, p in found.items() if name not in wanted]
    said = [f"{_some(lonely)} of {images} without a mask in {masks}"] if lonely else []
    said += [f"{_some(spare)} of {masks} without a picture in {images}"] if spare else []
    if said:
        raise DataError(f"{', and '.join(said)}: the two of a pair are called like cat.jpg and cat{suffix}.png")
    return [(path, found[name + suffix]) for name, path in pictures.items()]


def in_list(file: Path, root: Path) -> Paths:
    """Pictures and masks that a file names, one pair a line, from `root` on; where they are absolute paths of another
    machine, from the part on that lies below `root`.

    Raises:
        DataError: an empty list, a line that is no pair, or files that are not there.
    """
    pairs = []
    for line in read_lines(file):
        fields = line.split("\t" if "\t" in line else None)
        if len(fields) != 2:
            raise DataError(f"{file} has a line {line!r}, which is no pair of a picture and its mask")
        pairs.append(tuple(_resolve(field.strip(), root) for field in fields))
    check_files(chain(*pairs), file)
    return pairs


def check_files(paths: Iterable[Path], file: Path) -> None:
    """Raises DataError if some are not there; `file` lists them."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{_some(missing)} that {file} lists {'is' if len(missing) == 1 else 'are'} not there")


def read_lines(file: Path) -> list[str]:
    """The lines of a list that are not blank.

    Raises:
        DataError: no text, or nothing in it.
    """
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the list {file}: it is no text file") from error
    if not lines:
        raise DataError(f"the list {file} is empty: fill it, or remove it")
    return lines


def to_pairs(root: Path, paths: Paths, legend: Legend) -> Pairs:
    """Files below `root` as a source."""
    images, masks = zip(*paths, strict=True)
    return Pairs(Files(root, encoded(root, images), None), MaskFiles(root, encoded(root, masks)), legend)


def _resolve(name: str, root: Path) -> Path:
    path = Path(name)
    if not path.is_absolute() or path.is_file():
        return root / path
    ends = (root.joinpath(*path.parts[start:]) for start in range(1, len(path.parts)))
    return next((end for end in ends if end.is_file()), path)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
