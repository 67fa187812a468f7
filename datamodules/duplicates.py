"""Duplicates and train-test leakage: the same file in two places, found by content, not by name."""

import hashlib
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import combinations
from pathlib import Path

from datamodules.finding import find_images
from modules.contracts import regular

SHOWN = 3  # pairs in a sentence
TAIL = 4096  # last bytes that tell most files of one size apart

Listed = list[tuple[Path, int]]
"""Files, or folders of frames, each with a number that differs where size or last bytes of two differ."""
Shared = dict[tuple[str, str], list[tuple[Path, Path]]]
"""Pairs of equal files, by the two splits that they are in."""


def tail(path: Path) -> int:
    """A number that differs where size or last bytes of two files, or of the images of two folders, differ; 0 if gone.

    Files of one number need not be equal.
    """
    if path.is_dir():
        return zlib.crc32(repr([tail(file) for file in find_images(path)]).encode())
    try:
        with regular(path).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(-min(size, TAIL), os.SEEK_END)
            return zlib.crc32(file.read(), size)
    except OSError:
        return 0


def identical(files: Listed) -> list[list[int]]:
    """Groups of indices of files with equal bytes, in order of their first; only what may be equal is read."""
    numbers = _groups(number for _, number in files)
    found = [[group[k] for k in same] for group in numbers for same in _groups(_content(files[i][0]) for i in group)]
    _content.cache_clear()
    return sorted(found)


def shared_files(splits: dict[str, Listed]) -> Shared:
    """Pairs of files with equal bytes in two splits."""
    files = [(split, path, number) for split, listed in splits.items() for path, number in listed]
    found: Shared = defaultdict(list)
    for group in identical([(path, number) for _, path, number in files]):
        by_split: dict[str, list[Path]] = defaultdict(list)
        for i in group:
            by_split[files[i][0]].append(files[i][1])
        for a, b in combinations(by_split, 2):
            found[a, b] += [(by_split[a][0], path) for path in by_split[b]]
    return dict(found)


def report(shared: Shared, noun: str) -> list[str]:
    """A warning for each two splits that share files; `noun` is the word for these."""
    lines = []
    root = common_folder(path for pairs in shared.values() for pair in pairs for path in pair)
    for (a, b), pairs in shared.items():
        said = ", ".join(f"{_short(x, root)} = {_short(y, root)}" for x, y in pairs[:SHOWN])
        more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
        lines.append(
            f"warning: {len(pairs):,} of the {noun} of {b} occur in {a} too, by content ({said}{more}): metrics on "
            f"{b} are better than they should be (leakage)"
        )
    return lines


def common_folder(paths: Iterable[Path]) -> Path:
    """The deepest folder that all files lie in; the working directory where there are none."""
    folders = {str(path.absolute().parent) for path in paths}
    return Path(os.path.commonpath(folders)) if folders else Path()


def _groups(keys: Iterable[object]) -> list[list[int]]:
    """Indices of equal keys, of keys that occur more than once."""
    found: dict[object, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        found[key].append(index)
    return [group for group in found.values() if len(group) > 1]


@cache
def _content(path: Path) -> str:
    if path.is_dir():
        return hashlib.sha256(repr([_content(file) for file in find_images(path)]).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _short(path: Path, root: Path) -> str:
    return str(path.absolute().relative_to(root))
