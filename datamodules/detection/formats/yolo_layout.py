"""Layouts of YOLO data: data.yaml, obj.data, classes.txt, and the folders of images and labels."""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from datamodules.base import Split
from datamodules.detection.formats.merge import some
from datamodules.file_names import locate, posix, spelled
from datamodules.finding import find_images
from datamodules.split_names import NAMES, split_folders
from datamodules.text_files import read_lines, read_text
from modules.contracts import DataError

LISTS = ("classes.txt", "obj.names", "labels/classes.txt", "train/labels/classes.txt")


class Layout(NamedTuple):
    """Names of the classes by number, from `file`.

    Folders or lists of images by split; and of poses `kpt_shape`, the number of keypoints and the values of each, 2 or
    3.
    """

    file: Path
    names: dict[int, str]
    places: dict[Split, list[Path]]
    notes: list[str]
    keypoints: tuple[int, int] | None = None


def find(root: Path) -> Layout | None:
    """Read the layout from `data.yaml`, else `obj.data`, else `classes.txt` and the folders beside `labels`.

    Null if there is none of them.

    Raises:
        DataError: a data.yaml or obj.data that cannot be used.
    """
    for file in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        content = _load(file)
        if isinstance(content, dict) and "names" in content:
            return _from_yaml(root, file, content)
    for file in sorted(root.glob("*.data")):
        content = _darknet(file)
        if "names" in content:
            return _from_yaml(root, file, content)
    file = next((root / name for name in LISTS if (root / name).is_file()), None)
    places = _folders(root)
    return Layout(file, dict(enumerate(lines(file))), places, []) if file and places else None


def split_images(root: Path, place: Path) -> list[Path]:
    """The images in a folder, or those that a list names, whether they are there or not."""
    if place.is_dir():
        return find_images(place)
    bases = (place.parent, root)
    return [locate(name, bases) or bases[0] / posix(name) for name in lines(place)]


def label_file(image: Path) -> Path:
    """The label file of an image: labels/a/b.txt or images/a/b.txt for images/a/b.jpg."""
    beside, parts = image.with_suffix(".txt"), image.parts[:-1]
    if "images" in parts and not beside.is_file():
        at = len(parts) - 1 - parts[::-1].index("images")
        beside = Path(*parts[:at], "labels", *parts[at + 1 :], beside.name)
    return spelled(beside.parent, beside.name) or beside


def lines(file: Path) -> list[str]:
    """Lines of a file that are not blank; it may be empty.

    Raises:
        DataError: it is no text.
    """
    return read_lines(file, empty=True)


def _load(file: Path) -> Any:
    """Load a YAML whose scalars stay as written: `names: [yes, no, 1e3]` are three words."""
    try:
        return yaml.load(read_text(file), Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise DataError(f"{file} is no yaml that can be read: {' '.join(str(error).split())}") from error


def _darknet(file: Path) -> dict[str, Any]:
    """Load Darknet's obj.data, as CVAT exports it: `train = data/train.txt`, with names in a file."""
    pairs = (line.partition("=") for line in lines(file) if not line.startswith("#"))
    content: dict[str, Any] = {key.strip(): value.strip() for key, _, value in pairs}
    listed = locate(content.pop("names", ""), [file.parent]) if content.get("names") else None
    if listed:
        content["names"] = lines(listed)
    return content | {"nc": content.get("classes", "")}


def _keypoints(file: Path, content: dict[str, Any]) -> tuple[int, int] | None:
    shape = content.get("kpt_shape")
    if shape is None:
        return None
    known = isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, str) and n.isdecimal() for n in shape)
    if not known or int(shape[1]) not in (2, 3):
        raise DataError(f"{file} has kpt_shape {shape!r}: give [number of keypoints, 2 or 3]")
    return int(shape[0]), int(shape[1])


def _names(file: Path, names: Any) -> dict[int, str]:
    names = {str(i): name for i, name in enumerate(names)} if isinstance(names, list) else names
    if not isinstance(names, dict) or not names or not all(key.strip().isdecimal() for key in names):
        raise DataError(f"{file} has names {names!r}: give a list of names, or a map from numbers to names")
    if broken := next((name for name in names.values() if not isinstance(name, str)), None):
        raise DataError(f"{file} has the name {broken!r} among its names: a name is one text")
    return {int(key): names[key] for key in sorted(names, key=int)}


def _from_yaml(root: Path, file: Path, content: dict[str, Any]) -> Layout:
    names = _names(file, content["names"])
    if content.get("nc") and content["nc"] != str(len(names)):
        raise DataError(f"{file} has nc {content['nc']}, but {len(names)} names: correct one of them")
    bases = [root / str(content["path"]), root] if content.get("path") else [root]
    places, notes = {}, []
    for split, keys in NAMES.items():
        entries = next((content[key] for key in keys if content.get(key)), [])
        found = {str(e): _resolve(bases, str(e)) for e in (entries if isinstance(entries, list) else [entries])}
        missing = [entry for entry, place in found.items() if place is None]
        said = f"{file} has its {split} images in {some(missing)}, which is not there"
        if missing and split == "train":
            raise DataError(f"{said}: correct it")
        if missing:
            notes.append(said)
        if there := [place for place in found.values() if place]:
            places[split] = there
    return Layout(file, names, places or _folders(root), notes, _keypoints(file, content))


def _resolve(bases: list[Path], entry: str) -> Path | None:
    """A folder or list of images; exports often have one `../` too many, or the folder `data/` above all."""
    tails = dict.fromkeys((entry, posix(entry), posix(entry).removeprefix("../")))
    found = next((base / tail for tail in tails for base in bases if (base / tail).exists()), None)
    return found or (locate(entry, bases) if entry.lower().endswith(".txt") else None)


def _folders(root: Path) -> dict[Split, list[Path]]:
    """Find images/train beside labels/train, train/images beside train/labels; else images beside labels."""
    found: dict[Split, list[Path]] = {}
    inside = {part: split_folders(root / part) for part in ("images", "labels")}
    outside = split_folders(root)
    for split in NAMES:
        pairs = [(inside["images"][split], inside["labels"][split])] if all(split in x for x in inside.values()) else []
        pairs += [(outside[split] / "images", outside[split] / "labels")] if split in outside else []
        if folder := next((images for images, labels in pairs if images.is_dir() and labels.is_dir()), None):
            found[split] = [folder]
    flat = (root / "images").is_dir() and (root / "labels").is_dir()
    return found or ({"train": [root / "images"]} if flat else {})
