"""Detection of folder and list layouts of images with masks, VOC's and Roboflow's included."""

from collections.abc import Iterator
from pathlib import Path

from datamodules.base import Split
from datamodules.finding import walk
from datamodules.segmentation.pair_files import Paths, in_folders, in_list, in_names
from datamodules.split_names import split_folders, split_lists
from modules.contracts import DataError

DEFAULT = ("images", "masks")
VOC = ("JPEGImages", "SegmentationClass")
BESIDE = "_mask"  # suffix of masks in one folder with their images, as Roboflow exports them


def find_pairs(root: Path, folders: tuple[str, str], suffix: str, unlabeled: list[str]) -> dict[Split, Paths]:
    """Find images with their masks by split.

    Args:
        root: the folder of all.
        folders: names of the folders of images and of masks.
        suffix: ending of a mask's name behind that of its image.
        unlabeled: gets a sentence for a test set without masks.

    Raises:
        DataError: no such folders or lists, or files without partner.
    """
    for pair in dict.fromkeys((folders, VOC) if folders == DEFAULT else (folders,)):
        if found := _in_folders(root, pair, suffix, unlabeled):
            return found
    if found := _together(root, suffix or BESIDE):
        return found
    raise DataError(
        f"{root} has neither folders {folders[0]!r} and {folders[1]!r} nor a list train.txt: "
        f"set data.images and data.masks to the names of its folders"
    )


def _in_folders(root: Path, folders: tuple[str, str], suffix: str, unlabeled: list[str]) -> dict[Split, Paths]:
    inside, other = (split_folders(root / folder) for folder in folders)
    below = {split: (images, other.get(split, root / folders[1] / images.name)) for split, images in inside.items()}
    beside = {split: (place / folders[0], place / folders[1]) for split, place in split_folders(root).items()}
    for places in (below, beside):
        found = {}
        for split, (images, masks) in places.items():
            if images.is_dir() and split == "test" and not masks.is_dir():  # often secret
                unlabeled.append(f"no test set: {images} has no masks in {masks}")
            elif images.is_dir():
                found[split] = in_folders(images, masks, suffix)
        if found:
            return found
    lists = split_lists(root) or {"train": root / "default.txt"}  # CVAT's
    if found := {split: in_list(file, root) for split, file in lists.items() if file.is_file()}:
        return found
    images, masks = (root / folder for folder in folders)
    if not (images.is_dir() and masks.is_dir()):
        return {}
    names = split_lists(root / "ImageSets" / "Segmentation")
    listed = {split: in_names(file, images, masks, suffix) for split, file in names.items()}
    return listed or {"train": in_folders(images, masks, suffix)}


def _together(root: Path, suffix: str) -> dict[Split, Paths]:
    """Folders that hold images and masks side by side: of the splits, or the root alone."""
    places = split_folders(root).items()
    found = {split: in_folders(folder, folder, suffix) for split, folder in places if any(_masks(folder, suffix))}
    return found or ({"train": in_folders(root, root, suffix)} if any(_masks(root, suffix)) else {})


def _masks(folder: Path, suffix: str) -> Iterator[Path]:
    return (path for path in walk(folder) if path.name.endswith(f"{suffix}.png"))
