"""Region proposals from a file, for detectors without a proposal network (Fast R-CNN, R-CNN)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.coco_fields import integer
from datamodules.detection.objects import PROPOSAL, ObjectFiles, Objects
from modules.contracts import DataError, regular

Proposals = dict[str, np.ndarray]
"""float32 (R, 4) xyxy, best first, by the id of the image; of images that have some."""


@dataclass(frozen=True)
class WithProposals:
    """Images with proposals appended to their objects, so that augmentation moves both alike.

    Args:
        source: the images and their objects.
        proposals: of them, in pixels of the originals.
    """

    source: ObjectFiles
    proposals: Proposals
    labels: None = None

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> np.ndarray:
        return self.source.image(index)

    def id(self, index: int) -> str:
        return self.source.id(index)

    def shape(self, index: int) -> tuple[int, int]:
        return self.source.shape(index)

    def objects(self, index: int) -> Objects:
        found, given = self.source.objects(index), self.proposals.get(self.id(index), np.zeros((0, 4), np.float32))
        none = np.zeros(len(given))
        return Objects(
            np.concatenate([found.boxes, given]),
            np.concatenate([found.labels, np.full(len(given), PROPOSAL)]),
            np.concatenate([found.crowd, none.astype(bool)]),
            np.concatenate([found.area, none.astype(np.float32)]),
            None,  # masks and proposals never meet
        )


def separated(sample: dict[str, Any]) -> dict[str, Any]:
    """Split the proposals of a sample from its objects, into `proposals` (R, 4)."""
    boxes, given = sample["boxes"], sample["labels"] == PROPOSAL
    return sample | {"boxes": boxes[~given], "labels": sample["labels"][~given], "proposals": boxes[given]}


def read_proposals(file: Path, numbers: dict[str, int], skip: bool) -> tuple[Proposals, int]:
    """Proposals in COCO's results format: a list of {"image_id": ..., "bbox": [x, y, w, h], "score": ...}.

    Args:
        file: json.
        numbers: number of each image in the annotations, by its id; entries may have either.
        skip: leave out entries of images that are not there, and count them.

    Returns:
        Proposals, and the number of entries left out.

    Raises:
        DataError: no such list, or an entry without one of the three, with wrong ones, or of an unknown image.
    """
    try:
        entries = json.loads(regular(file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"data.proposals {file} is no json that can be read: {error}") from error
    if not isinstance(entries, list):
        raise DataError(f"data.proposals {file} holds no list of results: write [{{image_id, bbox, score}}, ...]")
    names: dict[Any, str] = {number: name for name, number in numbers.items()} | {name: name for name in numbers}
    found: dict[str, list[list[float]]] = {}
    unknown = 0
    for i, entry in enumerate(entries):
        row, image = _row(entry, f"{file}: entry {i}")
        alias = entry.get("file_name")  # from a run with other numbers for the same images
        if image not in names and isinstance(alias, str) and alias in names:
            image = alias
        if image in names:
            found.setdefault(names[image], []).append(row)
        elif skip:
            unknown += 1
        else:
            raise DataError(
                f"{file}: entry {i} is of image_id {image!r}, but the data has no such image: use the ids of its "
                f"annotations, or set --data.on_error skip"
            )
    return {name: _boxes(rows) for name, rows in found.items()}, unknown


def about_proposals(given: Proposals, file: str, images: set[str], unknown: int) -> str:
    """A line of the startup summary: how many proposals, and how many of the images have none.

    Args:
        given: proposals by image.
        file: that they are from.
        images: ids of all images.
        unknown: entries of images that are not there.
    """
    count, without = sum(map(len, given.values())), len(images - given.keys())
    skipped = f", {unknown:,} more are of images that are not there" if unknown else ""
    return f"proposals: {count:,} from {file}{skipped}; {without:,} of {len(images):,} images have none"


def _row(entry: Any, where: str) -> tuple[list[float], Any]:
    """x, y, width, height and score of an entry, and its image."""
    try:
        (x, y, width, height), score, image = (entry[key] for key in ("bbox", "score", "image_id"))
        image = integer(image)
        row = [float(value) for value in (x, y, width, height, score)]
    except KeyError as error:
        raise DataError(f"{where} has no {error}: it needs image_id, bbox and score") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} is no result with image_id, bbox [x, y, width, height] and score: {entry}") from error
    if not np.isfinite(row).all() or min(row[2:4]) < 0 or not isinstance(image, int | str):
        raise DataError(f"{where} has a bbox, score or image_id that cannot be: {entry}")
    return row, image


def _boxes(rows: list[list[float]]) -> np.ndarray:
    table = np.array(rows)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return np.concatenate([table[:, :2], table[:, :2] + table[:, 2:4]], 1).astype(np.float32)
