"""Finding video files, and reading lists of them."""

from pathlib import Path

import numpy as np

from modules.contracts import DataError, nearest

SUFFIXES = set(".mp4 .m4v .mov .avi .mkv .webm .mpeg .mpg .gif .wmv .flv .ts .3gp .ogv".split())


def find_videos(folder: Path) -> list[Path]:
    """All video files below a folder, sorted; hidden files and folders are passed over."""
    found = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


class ListFile:
    """A text file with one video per line: its path and its class, a number or a name, with a blank between.

    The class may be missing where the path begins with its folder. Blank lines are passed over.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            lines = path.read_text().splitlines()
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from error
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
            names: what the classes may be called, and the label of each.

        Raises:
            DataError: a class that is not among them.
        """
        for number, path, name in self.rows:
            if name not in names:
                hint = nearest(name, list(names))
                raise DataError(f"{self.path} line {number} gives {path} the class {name!r}, which is unknown{hint}")
        return np.array([p.encode() for _, p, _ in self.rows]), np.array([names[name] for _, _, name in self.rows])


def read_classes(path: Path) -> dict[str, str]:
    """Number and name of each class, in ascending order, from lines such as `1 ApplyEyeMakeup` (UCF101's classInd.txt).

    Raises:
        DataError: a line without number and name, or a number twice.
    """
    found: dict[int, str] = {}
    for n, line in enumerate(path.read_text().splitlines(), 1):
        number, _, name = line.strip().partition(" ")
        if not line.strip():
            continue
        if not number.isdecimal() or not name.strip() or int(number) in found:
            raise DataError(f"{path} line {n} is {line!r}, but it holds a number of its own and the name of a class")
        found[int(number)] = name.strip()
    return {str(number): found[number] for number in sorted(found)}


def _split(line: str) -> tuple[str, str]:
    path, _, name = line.rpartition(" ") if " " in line else line.rpartition("\t")
    if not path or Path(line).suffix.lower() in SUFFIXES:  # the blank belongs to the path
        path, name = line, Path(line).parts[0]
    return path.strip(), name
