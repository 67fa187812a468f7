"""Last step of all annotation readers: check and merge the splits, with notes about oddities."""

import re
from pathlib import Path

import numpy as np

from datamodules.base import Split
from datamodules.detection.formats.images import OnError
from datamodules.detection.formats.raw import Raw
from datamodules.detection.formats.validate import Validated, validate
from datamodules.detection.objects import Annotations
from datamodules.finding import SUFFIXES
from datamodules.split_names import NAMES
from modules.contracts import DataError
from modules.contracts.image_ids import image_number

SHOWN = 5  # names in a sentence


def split_of(path: Path, root: Path) -> Split | None:
    """The split in a file's name, else in those of its folders: `train2017`, `instances_val.json`."""
    for part in reversed(path.relative_to(root).parts):
        words = re.findall(r"[a-z]+", part.lower())
        found = next((split for split, names in NAMES.items() if any(name in words for name in names)), None)
        if found:
            return found
    return None


def merge(
    root: Path, raws: dict[Split, Raw], classes: list[str], category_ids: list[int], masks: bool, on_error: OnError
) -> Annotations:
    """Check the splits and merge them.

    Args:
        masks: true if all objects need an outline; else only those without box.

    Raises:
        DataError: as `validate`; no object to train on; an image with two numbers.
    """
    validated = {split: validate(raw, root, masks, on_error) for split, raw in raws.items()}
    for split, found in validated.items():
        if not len(found.source):
            raise DataError(f"{raws[split].file} has no images for {split}{_because(found.skipped)}")
    dropped = [line for found in validated.values() for line in found.dropped]
    skipped = [line for found in validated.values() for line in found.skipped]
    if "train" in validated and not len(validated["train"].source.boxes):
        hints = "".join(f"; {note}" for note in validated["train"].notes)
        raise DataError(f"{raws['train'].file} has no object of any class to train on{_because(dropped)}{hints}")
    notes = [note for found in validated.values() for note in found.notes]
    splits = {split: found.source for split, found in validated.items()}
    notes += [*_unused(splits, classes), *_unlisted(root, raws)]
    return Annotations(classes, category_ids, splits, _numbers(raws, validated), dropped, skipped, notes)


def some(names: list[str]) -> str:
    """The first few of many names, and the number of further ones."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _because(lines: list[str]) -> str:
    return f": {len(lines):,} were left out, first {lines[0]}" if lines else ""


def _numbers(raws: dict[Split, Raw], validated: dict[Split, Validated]) -> dict[str, int]:
    """Number of each image by its id; made of its path where the files have none."""
    numbers: dict[str, int] = {}
    for split, (source, rows, *_) in validated.items():
        for i, row in enumerate(rows):
            image, name = raws[split].images[row], source.id(i)
            number = image_number(name) if image.number is None else image.number
            if numbers.setdefault(name, number) != number and image.number is not None:
                raise DataError(
                    f"{image.where} has the id {number}, but {numbers[name]} in another split: give it one id"
                )
    return numbers


def _unused(splits: dict, classes: list[str]) -> list[str]:
    judged = "train" if "train" in splits else next(iter(splits))
    counts = np.bincount(splits[judged].classes, minlength=len(classes))
    names = [name for name, count in zip(classes, counts, strict=True) if not count]
    return [f"classes without object in {judged}: {len(names)} of {len(classes)} ({some(names)})"] if names else []


def _unlisted(root: Path, raws: dict[Split, Raw]) -> list[str]:
    known = {image.path for raw in raws.values() for image in raw.images if image.path}
    found = (path for folder in {path.parent for path in known} for path in folder.iterdir())
    spare = sorted(p for p in found if p.suffix.lower() in SUFFIXES and p not in known)
    names = [str(p.relative_to(root) if p.is_relative_to(root) else p) for p in spare]
    return [f"images in no split, so not used: {len(names):,} ({some(names)})"] if names else []
