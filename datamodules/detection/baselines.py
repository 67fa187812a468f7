"""Trivial baselines of detection: AP50 of boxes that are the same for every image."""

import numpy as np
import torch

from datamodules.detection.box_statistics import places
from datamodules.detection.objects import ObjectFiles
from datamodules.detection.samples import truth

EVERYWHERE = 10  # boxes along either side of the image; COCO counts 100 of each class
MAX_BOXES = 100_000  # boxes that are evaluated, in a second; of larger sets only the first images

Part = tuple[ObjectFiles, np.ndarray]
"""A split: images with objects, and the indices (N,) of those in use."""


def without_network(train: Part, judged: Part, classes: int) -> dict[str, float]:
    """COCO's AP50 without a network: boxes that are the same for every image, in fractions of its sides.

    A class's boxes have the mean width and height of its training boxes, and its share of the training objects as
    score. `center` is one of each class in the middle of the image, `everywhere` 10 x 10 of each class all over it.
    """
    sides, shares = mean_sides(train, classes)
    (source, indices), found = judged, {}
    for name, along in (("center", 1), ("everywhere", EVERYWHERE)):
        boxes, labels = grid(sides, along)
        scores, chosen = shares[labels], indices[: max(1, MAX_BOXES // max(1, len(boxes)))]
        found[name] = ap50(source, chosen, boxes, scores, labels, classes)
    return found


def mean_sides(part: Part, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean width and height of each class's boxes (C, 2), and its share of all objects (C,).

    Sizes are fractions of the image, nan where a class has no box; crowds are left out.
    """
    source, indices = part
    rows, chosen = places(source, indices)
    kept = ~source.crowd[chosen]
    rows, chosen = rows[kept], chosen[kept]
    boxes, labels = source.boxes[chosen], source.classes[chosen]
    sides = (boxes[:, 2:] - boxes[:, :2]) / source.shapes[rows][:, ::-1]
    counts = np.bincount(labels, minlength=classes)
    sums = np.stack([np.bincount(labels, sides[:, axis], classes) for axis in (0, 1)], 1)
    with np.errstate(invalid="ignore"):
        return sums / counts[:, None], counts / counts.sum()


def grid(sides: np.ndarray, along: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes xyxy (N, 4) in fractions of the image on a grid, and their labels (N,).

    `along` x `along` of each class (C, 2) that has a size, each in the middle of its cell.
    """
    middle = (np.arange(along) + 0.5) / along
    centers = np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2)
    known = np.flatnonzero(~np.isnan(sides[:, 0]))
    labels, centers = np.repeat(known, len(centers)), np.tile(centers, (len(known), 1))
    half = sides[labels] / 2
    return np.concatenate([centers - half, centers + half], 1).clip(0, 1), labels


def ap50(
    source: ObjectFiles, indices: np.ndarray, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: int
) -> float:
    """COCO's AP50 of the same boxes (N, 4), in fractions, in each of the images."""
    from modules.metrics.detection import DetectionScores

    metric = DetectionScores(classes, together=False)  # the first process alone asks
    shared = {"scores": [torch.from_numpy(scores)], "labels": [torch.from_numpy(labels)]}
    for index in indices:
        height, width = source.shape(index)
        placed = torch.from_numpy(boxes * [width, height, width, height])
        metric.update(shared | {"boxes": [placed]}, [truth(source.objects(index), False)])
    return float(metric.compute()["map50"])
