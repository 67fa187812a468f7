"""Finding video files, and reading lists of them."""

import re
from pathlib import Path, PurePosixPath

import numpy as np

from datamodules.file_names import posix
from datamodules.finding import find_files
from datamodules.text_files import read_text
from modules.contracts import DataError, suggest

SUFFIXES = set(".mp4 .m4v .mov .avi .mkv .webm .mpeg .mpg .gif .wmv .flv .ts .3gp .ogv".split())
ENDINGS = "|".join(suffix[1:] for suffix in sorted(SUFFIXES))
LISTED = re.compile(rf'"?(?P<path>.+?\.({ENDINGS}))"?(\s*[\s,;]\s*(?P<name>\S.*))?', re.IGNORECASE)


def find_videos(folder: Path) -> list[Path]:
    """All video files below a folder, sorted; hidden files and folders are passed over."""
    return find_files(folder, SUFFIXES)


class ListFile:
    """A text file with one video per line: its path and its class, a number or a name.

    A blank, a tab, a comma or a semicolon lies between.

    The class may be missing where the path begins with its folder. Blank lines are passed over.
    """

    def __init__(self, path: Path):
        self.path = path
        lines = read_text(path).split("\n")
        self.rows = [(n, *_split(line.strip())) for n, line in enumerate(lines, 1) if line.strip()]
        if not self.rows:
            raise DataError(f"{path} lists no videos")

    @property
    def names(self) -> list[str]:
        """The classes that occur, in the order of their numbers, or else of their names."""
        found = {name for _, _, name in self.rows}
        return sorted(found, key=int) if all(name.isdecimal() for name in found) else sorted(found)

    def samples(self, names: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
        """Paths as bytes (N,) and labels int64 (N,).

        Args:
            names: label of each class, by any of its names.

        Raises:
            DataError: a class that is not among them.
        """
        for number, path, name in self.rows:
            if name not in names:
                hint = suggest(name, list(names))
                raise DataError(f"{self.path} line {number} gives {path} the class {name!r}, which is unknown{hint}")
        return np.array([p.encode() for _, p, _ in self.rows]), np.array([names[name] for _, _, name in self.rows])


def read_classes(path: Path) -> dict[str, str]:
    """Number and name of each class, in ascending order, from lines such as `1 ApplyEyeMakeup` (UCF101's classInd.txt).

    Raises:
        DataError: a line without number and name, or a number twice.
    """
    found: dict[int, str] = {}
    for n, line in enumerate(read_text(path).split("\n"), 1):
        number, _, name = re.sub(r"[\s,;:]+", " ", line.strip(), count=1).partition(" ")
        if not line.strip():
            continue
        if not number.isdecimal() or not name.strip() or int(number) in found:
            raise DataError(f"{path} line {n} is {line!r}, but it holds a number of its own and the name of a class")
        found[int(number)] = name.strip()
    return {str(number): found[number] for number in sorted(found)}


def _split(line: str) -> tuple[str, str]:
    """Path and class; both may hold blanks where the path ends in the suffix of a video."""
    if match := LISTED.fullmatch(line):
        return match["path"], match["name"] or _folder(match["path"])
    path, _, name = line.rpartition(" ") if " " in line else line.rpartition("\t")
    return (path.strip(), name) if path else (line, _folder(line))


def _folder(path: str) -> str:
    return PurePosixPath(posix(path)).parts[0]
