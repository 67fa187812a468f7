"""Captions in JSON: COCO's own, one file per split, and Karpathy's splits."""

import json
from pathlib import Path
from typing import Any

from datamodules import coco_fields as fields
from datamodules.base import Split
from datamodules.captions.caption_data import Listed
from datamodules.file_names import locate
from datamodules.split_names import NAMES
from datamodules.text_files import read_text
from modules.contracts import DataError

KARPATHY: dict[str, Split] = {"train": "train", "restval": "train", "val": "val", "test": "test"}
NEEDS = (
    "images with filename, split and sentences (Karpathy), or images with id and file_name beside annotations with "
    "image_id and caption (COCO)"
)


def find(root: Path, file: str) -> list[Path]:
    """Find the JSON of that name, below `root` or anywhere; else COCO's own of all splits, `captions_train2017.json`.

    Raises:
        DataError: none of them is there, or two are for one split.
    """
    if chosen := next((path for path in (root / file, Path(file).expanduser()) if path.is_file()), None):
        return [chosen]
    found: dict[Split, Path] = {}
    for path in sorted(path for place in (root, root / "annotations") for path in place.glob("captions_*.json")):
        split = split_of(path)
        if split in found:
            raise DataError(f"{found[split]} and {path} are both for {split}: name one of them in data.file")
        found[split] = path
    if not found:
        raise DataError(f"{root} has neither {file} nor annotations/captions_train*.json: set data.file or data.root")
    return [*found.values()]


def split_of(path: Path) -> Split:
    """The split in a file's name, `captions_val2017.json`; else training."""
    part = path.stem.rpartition("_")[2].lower()
    return next((split for split, names in NAMES.items() if part.startswith(names)), "train")


def read(root: Path, files: list[Path]) -> dict[Split, Listed]:
    """Captions of each image, by its path below `root` where it lies there.

    Raises:
        DataError: a file is missing or in neither format, or a caption is of an unknown image.
    """
    found: dict[Split, Listed] = {"train": {}, "val": {}, "test": {}}
    for file in files:
        try:
            content = json.loads(read_text(file))
            if isinstance(content, dict) and "annotations" in content:
                found[split_of(file)] |= _own(content, root, file)
            else:
                _karpathy(content, found)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{file} is in neither format, {NEEDS}: {type(error).__name__} {error}") from error
    return found


def _karpathy(content: Any, found: dict[Split, Listed]) -> None:
    for image in content["images"]:
        name = f"{image['filepath']}/{image['filename']}" if image.get("filepath") else image["filename"]
        found[KARPATHY[image["split"]]][name] = [sentence["raw"] for sentence in image["sentences"]]


def _own(content: dict[str, Any], root: Path, file: Path) -> Listed:
    part = file.stem.rpartition("_")[2]  # train2017
    folders = [root / part, root / "images" / part, root / "images", root]
    names = {fields.integer(image["id"]): image["file_name"] for image in content["images"]}
    captions: dict[int, list[str]] = {key: [] for key in names}
    for i, annotation in enumerate(content["annotations"]):
        if (key := fields.integer(annotation["image_id"])) not in captions:
            raise DataError(f"{file} annotations[{i}] is of image_id {key!r}, which its images lack")
        captions[key].append(annotation["caption"])
    return {_below(root, locate(name, folders), f"{part}/{name}"): captions[key] for key, name in names.items()}


def _below(root: Path, path: Path | None, missing: str) -> str:
    if path is None:
        return missing
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path.resolve())
