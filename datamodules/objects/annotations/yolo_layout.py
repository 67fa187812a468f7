"""Where YOLO's pictures, txt files and names of classes are."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from datamodules.base import Split
from datamodules.objects.annotations.gather import some
from datamodules.source import find_images
from datamodules.split_data import NAMES
from modules.contracts import DataError

LISTS = ("classes.txt", "obj.names", "labels/classes.txt", "train/labels/classes.txt")


class Layout(NamedTuple):
    """What is where: the names of the classes by number, from `file`, and folders or lists of pictures by split."""

    file: Path
    names: dict[int, str]
    places: dict[Split, list[Path]]
    notes: list[str]


def find(root: Path) -> Layout | None:
    """What `data.yaml` says, else `classes.txt` and the folders beside `labels`; null if there is neither.

    Raises:
        DataError: a data.yaml that cannot be used.
    """
    for file in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        content = _load(file)
        if isinstance(content, dict) and "names" in content:
            return _from_yaml(root, file, content)
    file = next((root / name for name in LISTS if (root / name).is_file()), None)
    places = _folders(root)
    return Layout(file, dict(enumerate(lines(file))), places, []) if file and places else None


def pictures(root: Path, place: Path) -> list[Path]:
    """The pictures in a folder, or those that a list names, whether they are there or not."""
    if place.is_dir():
        return find_images(place)
    bases = (place.parent, root)
    return [next((base / n for base in bases if (base / n).is_file()), bases[0] / n) for n in lines(place)]


def label_file(picture: Path) -> Path:
    """images/a/b.jpg has its objects in labels/a/b.txt, or in images/a/b.txt."""
    beside, parts = picture.with_suffix(".txt"), picture.parts[:-1]
    if "images" not in parts or beside.is_file():
        return beside
    at = len(parts) - 1 - parts[::-1].index("images")
    return Path(*parts[:at], "labels", *parts[at + 1 :], beside.name)


def lines(file: Path) -> list[str]:
    """Those that are not blank; of a file that may be empty.

    Raises:
        DataError: it is no text.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: it is no text file") from error


def _load(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"{file} is no yaml that can be read: {' '.join(str(error).split())}") from error


def _from_yaml(root: Path, file: Path, content: dict[str, Any]) -> Layout:
    names = content["names"]
    names = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        raise DataError(f"{file} has names {names!r}: give a list of names, or a map from numbers to names")
    if content.get("nc", len(names)) != len(names):
        raise DataError(f"{file} has nc {content['nc']}, but {len(names)} names: correct one of them")
    bases = [root / str(content["path"]), root] if content.get("path") else [root]
    places, notes = {}, []
    for split, keys in NAMES.items():
        entries = next((content[key] for key in keys if content.get(key)), [])
        found = {str(e): _resolve(bases, str(e)) for e in (entries if isinstance(entries, list) else [entries])}
        missing = [entry for entry, place in found.items() if place is None]
        if missing and split == "train":
            raise DataError(f"{file} has its {split} pictures in {some(missing)}, which is not there: correct it")
        if missing:
            notes.append(f"{file} has its {split} pictures in {some(missing)}, which is not there")
        if there := [place for place in found.values() if place]:
            places[split] = there
    names = {key: str(names[key]) for key in sorted(names)}
    return Layout(file, names, places or _folders(root), notes)


def _resolve(bases: list[Path], entry: str) -> Path | None:
    """A folder or list of pictures; exports often have one `../` too many."""
    tails = dict.fromkeys((entry, entry.removeprefix("../")))
    return next((base / tail for tail in tails for base in bases if (base / tail).exists()), None)


def _folders(root: Path) -> dict[Split, list[Path]]:
    """images/train beside labels/train, train/images beside train/labels; else images beside labels."""
    found: dict[Split, list[Path]] = {}
    for split, names in NAMES.items():
        pairs = [(root / "images" / n, root / "labels" / n) for n in names]
        pairs += [(root / n / "images", root / n / "labels") for n in names]
        if folder := next((images for images, labels in pairs if images.is_dir() and labels.is_dir()), None):
            found[split] = [folder]
    flat = (root / "images").is_dir() and (root / "labels").is_dir()
    return found or ({"train": [root / "images"]} if flat else {})
