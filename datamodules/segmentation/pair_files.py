"""Pairing of images with mask files: by name in two folders, or by a list."""

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path, PurePosixPath

from datamodules.file_names import locate, posix, same_name
from datamodules.finding import find_images, one_each
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.files import MaskFiles, encoded
from datamodules.source import Files
from datamodules.text_files import read_lines
from modules.contracts import DataError

Paths = list[tuple[Path, Path]]
"""Image and mask."""


def in_folders(images: Path, masks: Path, suffix: str = "") -> Paths:
    """Pair images and masks of the same place and name in two folders, or in one.

    There, masks are the PNGs with the suffix, or, without one, all PNGs.

    Args:
        suffix: ending of masks behind the image's name: `_mask` in cat.jpg and cat_mask.png.

    Raises:
        DataError: an empty folder, or files without a partner.
    """
    files, maps = find_images(images), find_images(masks)
    if images.resolve() == masks.resolve():
        maps = [p for p in maps if p.suffix.lower() == ".png" and p.stem.endswith(suffix)]
        files = [p for p in files if p not in set(maps)]
    shown, found = one_each(files, lambda p: _key(p, images)), one_each(maps, lambda p: _key(p, masks))
    for folder, files in ((images, shown), (masks, found)):
        if not files:
            raise DataError(f"{folder} has no images: fill it, or point --data.root elsewhere")
    ending = same_name(suffix)
    lonely = [str(p.relative_to(images)) for name, p in shown.items() if name + ending not in found]
    wanted = {name + ending for name in shown}
    spare = [str(p.relative_to(masks)) for name, p in found.items() if name not in wanted]
    said = [f"{_some(lonely)} of {images} without a mask in {masks}"] if lonely else []
    said += [f"{_some(spare)} of {masks} without an image in {images}"] if spare else []
    if said:
        raise DataError(f"{', and '.join(said)}: the two of a pair are called like cat.jpg and cat{suffix}.png")
    return [(path, found[name + ending]) for name, path in shown.items()]


def in_list(file: Path, root: Path) -> Paths:
    """Pair the images and masks in a list, one pair a line, relative to `root`.

    Of absolute paths of another machine, the part below `root` counts. Between the two are a tab, a comma, a semicolon
    or blanks.

    Raises:
        DataError: an empty list, a line that is no pair, or files that are not there.
    """
    pairs = []
    for line in read_lines(file):
        parts = _halves(line)
        found = ([locate(name, [root]) for name in pair] for pair in parts)
        known = next((pair for pair in found if all(pair)), None)
        if not (known or len(parts) == 1):
            raise DataError(f"{file} has a line {line!r}, which is no pair of an image and its mask")
        pairs.append(known or tuple(locate(name, [root]) or root / posix(name) for name in parts[0]))
    check_files(chain(*pairs), file)
    return [(image, mask) for image, mask in pairs]


def in_names(file: Path, images: Path, masks: Path, suffix: str = "") -> Paths:
    """Pair images and masks by a list of names, one a line, with or without suffix, as Pascal VOC's.

    Raises:
        DataError: an empty list, or files that are not there.
    """
    shown = {_key(p, images): p for p in find_images(images)}
    found = {_key(p, masks): p for p in find_images(masks)}
    pairs = []
    for line in read_lines(file):
        name = next((n for n in (line, str(PurePosixPath(line).with_suffix(""))) if same_name(n) in shown), line)
        name = same_name(name)
        pairs.append((shown.get(name, images / line), found.get(name + same_name(suffix), masks / f"{line}.png")))
    check_files(chain(*pairs), file)
    return pairs


def check_files(paths: Iterable[Path], file: Path) -> None:
    """Raise DataError if some paths, listed in `file`, are not there."""
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{_some(missing)} that {file} lists {'is' if len(missing) == 1 else 'are'} not there")


def to_pairs(root: Path, paths: Paths, legend: Legend) -> Pairs:
    """Files below `root` as a source."""
    images, masks = zip(*paths, strict=True)
    return Pairs(Files(root, encoded(root, images), None), MaskFiles(root, encoded(root, masks)), legend)


def _key(path: Path, folder: Path) -> str:
    """A file's path below a folder, without suffix, normalized for comparison."""
    return same_name(str(path.relative_to(folder).with_suffix("")))


def _halves(line: str) -> list[tuple[str, str]]:
    """The ways to cut a line in two, the likeliest first: at a tab, a semicolon or a comma, else at any blank."""
    for separator in "\t;,":
        if line.count(separator) == 1:
            one, _, two = line.partition(separator)
            return [(one.strip(), two.strip())]
    cuts = [match.span() for match in re.finditer(r"\s+", line)]
    middle = sorted(cuts, key=lambda cut: abs(cut[0] + cut[1] - len(line)))
    return [(line[:start], line[end:]) for start, end in middle]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
