"""Trivial baseline of panoptic segmentation: PQ of an answer that is the same for every image."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from pycocotools import mask as coco

from datamodules.detection.box_statistics import places
from datamodules.detection.objects import ObjectFiles, Packed


def pixels_of_classes(source: ObjectFiles, indices: np.ndarray, classes: int) -> np.ndarray:
    """Pixels of each class in the images `indices`, crowds left out, float64 (classes,)."""
    rows, chosen = places(source, indices)
    kept = ~source.crowd[chosen]
    return np.bincount(source.classes[chosen[kept]], _areas(source, rows[kept], chosen[kept]), classes)


def constant_answer(source: ObjectFiles, indices: np.ndarray, things: Sequence[bool], label: int) -> float:
    """PQ, as panopticapi's, of one segment of class `label` over each whole image, from the areas of its segments."""
    from modules.metrics.panoptic import by_groups, count_matches  # slow to import

    rows, chosen = places(source, indices)
    areas, found = _areas(source, rows, chosen), np.array([label])
    counts = []
    for index in indices:
        part = rows == index
        own = areas[part]
        shared = np.zeros((len(own) + 1, 2), np.int64)
        shared[1:, 1], shared[0, 1] = own, np.prod(source.shape(index)) - own.sum()
        these = chosen[part]
        counts.append(count_matches(shared, source.classes[these], source.crowd[these], found, len(things)))
    return float(by_groups(np.sum(counts, 0)[None], things)[0].values(np.ones((1, 1)))["pq"][0])


def _areas(source: ObjectFiles, rows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Pixels of the masks `chosen` of the images `rows`, int64."""
    counts = cast(Packed, source.counts)
    parts = zip(rows, chosen, strict=True)  # one by one: pycocotools takes 255 at most
    areas = [coco.area({"size": list(source.shape(row)), "counts": counts[k]}) for row, k in parts]
    return np.array(areas, np.int64)
