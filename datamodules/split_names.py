"""Names of splits in folders, lists and columns: train, val, test and their usual variants, in any case."""

import os
from pathlib import Path

from datamodules.base import Split
from modules.contracts import DataError

NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def split_named(name: str) -> Split | None:
    """The split of that name; null where it is none."""
    return next((split for split, names in NAMES.items() if name.strip().lower() in names), None)


def split_folders(folder: Path) -> dict[Split, Path]:
    """The folders right below that are called like splits, in the order of `NAMES`.

    Raises:
        DataError: two for one split.
    """
    return _entries(folder, "")


def split_lists(folder: Path, suffix: str = ".txt") -> dict[Split, Path]:
    """The files right below that are called like splits: `train.txt`, `Testing.txt`.

    Raises:
        DataError: two for one split.
    """
    return _entries(folder, suffix)


def _entries(folder: Path, suffix: str) -> dict[Split, Path]:
    found: dict[Split, Path] = {}
    if not folder.is_dir():
        return found
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  names, no paths
        stem, end = (name, "") if not suffix else (name[: -len(suffix)], name[-len(suffix) :].lower())
        split = split_named(stem) if end == suffix else None
        path = folder / name
        if split is None or not (path.is_file() if suffix else path.is_dir()):
            continue
        if split in found:
            raise DataError(f"{found[split]} and {path} are both for {split}: leave one of them in {folder}")
        found[split] = path
    return {split: found[split] for split in NAMES if split in found}
