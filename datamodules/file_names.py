"""Lookup of files by names in lists and annotations: other slashes, Unicode forms, case or parent folders."""

import os
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path, PurePosixPath


def same_name(name: str) -> str:
    """A name normalized for comparison where its exact spelling is not there.

    In Unicode's composed form (NFC, where macOS writes NFD), in lower case.
    """
    return composed(composed(name).casefold())


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), in which one class or file has one spelling."""
    return unicodedata.normalize("NFC", name)


def spelled(folder: Path, name: str) -> Path | None:
    """The file of that path below a folder.

    Where there is none, the only one whose path differs by Unicode form or case alone.
    """
    if _is_file(folder / name):
        return folder / name
    path = Path(folder)
    *parents, last = PurePosixPath(name).parts or ("",)
    for part in parents:
        found = path / part if part in ("..", "/") else _entry(path, part)
        if found is None or not found.is_dir():
            return None
        path = found
    found = _entry(path, last)
    return found if found is not None and _is_file(found) else None


def locate(name: str, folders: Iterable[Path]) -> Path | None:
    """Find the file that a list calls `name`: below one of the folders, or as an absolute path.

    Else by a shorter end of it, for absolute paths of another machine. Backslashes separate folders, too, as on
    Windows.

    Args:
        name: as in the list.
        folders: candidates, the likeliest first.
    """
    folders = list(folders)
    for written in dict.fromkeys((name, posix(name))):
        if found := next((found for folder in folders if (found := spelled(folder, written))), None):
            return found
    parts = [part for part in PurePosixPath(posix(name)).parts if part not in ("/", "..")]
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((found for end in ends for folder in folders if (found := spelled(folder, end))), None)


def posix(name: str) -> str:
    """A path with slashes, without the quotes or the drive that Windows puts around or in front of it."""
    name = name.strip().strip('"')
    return re.sub(r"^[A-Za-z]:/", "/", name.replace("\\", "/"))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a zero byte
        return False


def _entry(folder: Path, name: str) -> Path | None:
    """The entry of a folder with that name, or else the only one with the same normalized name."""
    try:
        names = _listing(str(folder), folder.stat().st_mtime_ns).get(same_name(name), ())
    except (OSError, ValueError):
        return None
    if name in names:
        return folder / name
    return folder / names[0] if len(names) == 1 else None


@lru_cache(maxsize=256)
def _listing(folder: str, _changed: int) -> dict[str, list[str]]:
    """The names in a folder, by their normalized form."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  names, no paths
        found.setdefault(same_name(name), []).append(name)
    return found
