"""Samples that `check` looks at, and counts with their nouns."""

from typing import Any, NamedTuple

import numpy as np

from datamodules.base import Split
from datamodules.image_files import ImageFilesData
from datamodules.split_data import SplitData
from datamodules.video.videos_on_disk import VideosOnDisk


class Item(NamedTuple):
    """A sample.

    Args:
        split: that it is in.
        row: its index in the source of the split.
        name: its id for users, a path below the root or a line of a file.
        path: `Path` of its file, or its folder of frames; null where it is in memory.
        label: index of its class; null without classes.
    """

    split: Split
    row: int
    name: str
    path: Any
    label: Any


def splits_of(data: SplitData) -> dict[Split, tuple[Any, np.ndarray]]:
    """The source of each split, of the data module's own kind, and the indices of its samples."""
    return data.splits


def all_items(data: SplitData) -> list[Item]:
    """Every sample of every split, test first: of equal ones the first is the one to keep."""
    found = []
    for split in ("test", "val", "train"):
        if split not in data.splits:
            continue
        source, rows = splits_of(data)[split]
        files: Any = data.image_files(source) if isinstance(data, ImageFilesData) else None
        files = source if isinstance(data, VideosOnDisk) else files
        labels = getattr(source, "labels", None)
        for row in map(int, rows):
            path = files.path(row) if files is not None else None
            found.append(Item(split, row, source.id(row), path, None if labels is None else int(labels[row])))
    return found
