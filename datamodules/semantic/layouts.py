"""Folders and lists in which images and masks lie, found by looking."""

from collections.abc import Iterator
from pathlib import Path

from datamodules.base import Split
from datamodules.semantic.pair_files import Paths, in_folders, in_list, in_names
from datamodules.split_data import NAMES
from modules.contracts import DataError

DEFAULT = ("images", "masks")
VOC = ("JPEGImages", "SegmentationClass")
BESIDE = "_mask"  # what masks have behind the image's name where both are in one folder, as Roboflow exports them


def find_pairs(root: Path, folders: tuple[str, str], suffix: str) -> dict[Split, Paths]:
    """Images with their masks by split.

    Args:
        root: the folder of all.
        folders: names of the folders of images and of masks.
        suffix: what the name of a mask has behind that of its image.

    Raises:
        DataError: no such folders or lists, or files without partner.
    """
    for pair in dict.fromkeys((folders, VOC) if folders == DEFAULT else (folders,)):
        if found := _in_folders(root, pair, suffix):
            return found
    if found := _together(root, suffix or BESIDE):
        return found
    raise DataError(
        f"{root} has neither folders {folders[0]!r} and {folders[1]!r} nor a list train.txt: "
        f"set data.images and data.masks to the names of its folders"
    )


def _in_folders(root: Path, folders: tuple[str, str], suffix: str) -> dict[Split, Paths]:
    for order in ("{folder}/{split}", "{split}/{folder}"):
        found = {}
        for split, name in _names():
            images, masks = (root / order.format(folder=folder, split=name) for folder in folders)
            # test pictures without masks are common: their masks are secret
            if images.is_dir() and (masks.is_dir() or split != "test"):
                found[split] = in_folders(images, masks, suffix)
        if found:
            return found
    lists = [(split, root / f"{name}.txt") for split, name in _names()]
    lists = [(split, file) for split, file in lists if file.is_file()] or [("train", root / "default.txt")]  # of CVAT
    if found := {split: in_list(file, root) for split, file in lists if file.is_file()}:
        return found
    images, masks = (root / folder for folder in folders)
    if not (images.is_dir() and masks.is_dir()):
        return {}
    names = [(split, root / "ImageSets" / "Segmentation" / f"{name}.txt") for split, name in _names()]
    listed = {split: in_names(file, images, masks, suffix) for split, file in names if file.is_file()}
    return listed or {"train": in_folders(images, masks, suffix)}


def _together(root: Path, suffix: str) -> dict[Split, Paths]:
    """Folders that hold images and masks side by side: of the splits, or the root alone."""
    places = [(split, root / name) for split, name in _names()]
    found = {split: in_folders(folder, folder, suffix) for split, folder in places if any(_masks(folder, suffix))}
    return found or ({"train": in_folders(root, root, suffix)} if any(_masks(root, suffix)) else {})


def _masks(folder: Path, suffix: str) -> Iterator[Path]:
    return folder.rglob(f"*{suffix}.png")


def _names() -> Iterator[tuple[Split, str]]:
    yield from ((split, name) for split, names in NAMES.items() for name in names)
