"""Panoptic quality (Kirillov et al. 2019): segments matched by IoU, after the rules of COCO's panopticapi."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor
from torchmetrics import Metric

from modules.metrics.bootstrap.statistic import Sums

GROUPS = ("", "_things", "_stuff")
"""Ends of the names of metrics over all classes, over things and over stuff."""
WORDS = {
    "pq": "macro: mean over classes of summed IoU / (TP + FP / 2 + FN / 2), segments matched by an IoU above 0.5",
    "sq": "macro: mean over classes of the mean IoU of matched segments, 0 for a class without any",
    "rq": "macro: mean over classes of TP / (TP + FP / 2 + FN / 2)",
}
UNIT = 1 << 40
"""Whole numbers that stand for 1 in sums, which are then the same in any order, and on devices without float64."""
RULES = "as panopticapi counts, void and crowds left out; at the original resolution"
PROTOCOLS = {
    f"{name}{end}": f"{f'as {name}, {end[1:]} alone' if end else how}; {RULES}"
    for name, how in WORDS.items()
    for end in GROUPS
}
"""Protocol of each metric, in words."""


class Truth(NamedTuple):
    """Segments of an image.

    Args:
        segments: whole numbers (H, W), 0 for void and k for segment number k, from 1 on.
        labels: (N,), class of each.
        crowd: bool (N,), regions of many objects, which count as void for their class.
    """

    segments: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray


def from_runs(rles: Sequence[Any], labels: Tensor, crowd: Tensor) -> Truth:
    """Segments of an image from their compressed COCO run lengths, which do not overlap; at least one."""
    segments = np.zeros(rles[0]["size"], np.int64)
    for number, rle in enumerate(rles, 1):
        segments[coco.decode(rle) > 0] = number
    return Truth(segments, labels.cpu().numpy(), crowd.cpu().numpy())


def shared_pixels(true: np.ndarray, found: np.ndarray, count: int, found_count: int) -> np.ndarray:
    """Pixels of each pair of segments, int64 (count + 1, found_count + 1), row and column 0 for those of none.

    Args:
        true: whole numbers (H, W), 0..count.
        found: the same, 0..found_count.
        count: number of true segments.
        found_count: number of predicted ones.
    """
    cells = true.astype(np.int64) * (found_count + 1) + found
    return np.bincount(cells.ravel(), minlength=(count + 1) * (found_count + 1)).reshape(count + 1, -1)


def count_matches(
    shared: np.ndarray, labels: np.ndarray, crowd: np.ndarray, found: np.ndarray, classes: int
) -> np.ndarray:
    """Counts of one image, float64 (4, classes): matches, their summed IoU, wrong segments, missed ones.

    A true and a predicted segment of one class match by an IoU above 0.5, void pixels of the prediction left out. A
    segment without match is not wrong where more than half of it is void or a crowd of its class; of several crowds of
    a class the last counts, as in panopticapi.

    Args:
        shared: from `shared_pixels`.
        labels: (N,), classes of the true segments.
        crowd: bool (N,).
        found: (S,), classes of the predicted segments.
        classes: number of classes.
    """
    both, void = shared[1:, 1:], shared[0, 1:]
    area, found_area = shared[1:].sum(1), shared[:, 1:].sum(0)
    union = area[:, None] + found_area - both - void
    fits = (labels[:, None] == found) & ~crowd[:, None] & (both > 0)
    iou = np.where(fits, both / np.maximum(union, 1), 0)
    matched = iou > 0.5
    ignored = void.astype(np.int64)
    for c in np.unique(labels[crowd]):
        last = np.flatnonzero(crowd & (labels == c))[-1]
        ignored = ignored + np.where(found == c, both[last], 0)
    wrong = ~matched.any(0) & (2 * ignored <= found_area)
    missed = ~matched.any(1) & ~crowd
    rows, _ = np.nonzero(matched)
    return np.stack(
        [
            np.bincount(labels[rows], minlength=classes),
            np.bincount(labels[rows], iou[matched], minlength=classes),
            np.bincount(found[wrong], minlength=classes),
            np.bincount(labels[missed], minlength=classes),
        ]
    ).astype(np.float64)


def per_class(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Metrics of each class from float64 (4, C), as `count_matches` gives them.

    Returns:
        `segments` (true ones), and `pq`, `sq` and `rq`, nan for a class without any segment, each (C,).
    """
    right, iou, wrong, missed = counts
    total = right + (wrong + missed) / 2
    with np.errstate(invalid="ignore"):
        quality = np.where(right > 0, iou / np.maximum(right, 1), np.where(total > 0, 0, np.nan))
        return {"segments": right + missed, "pq": iou / total, "sq": quality, "rq": right / total}


def by_groups(table: np.ndarray, things: Sequence[bool]) -> list[Sums]:
    """Statistics of N images, `GROUPS` each, from their counts (N, 4, C).

    Args:
        table: of `count_matches`.
        things: of C classes.
    """
    chosen = [np.full(len(things), True), np.array(things, bool), ~np.array(things, bool)]
    groups = [(end, columns) for end, columns in zip(GROUPS, chosen, strict=True) if columns.any()]
    return [Sums("panoptic", [end], table[..., columns].reshape(len(table), -1)) for end, columns in groups]


class PanopticScores(Metric):
    """Panoptic, segmentation and recognition quality over a set of images.

    `compute` gives `pq`, `sq` and `rq`, and these over things and over stuff alone, as PROTOCOLS says, each in 0..1;
    nan without any segment. `sums` is int64 (4, C), `UNIT` times the sum of what `count_matches` gives.

    Args:
        things: True for each of C classes whose objects are told apart.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    sums: Tensor
    latest: Tensor

    def __init__(self, things: Sequence[bool]):
        super().__init__()
        self.things = list(things)
        self.add_state("sums", torch.zeros(4, len(self.things), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, segments: Sequence[Tensor], labels: Sequence[Tensor], truths: Sequence[dict]) -> None:
        """Count some images; `latest` then holds the counts of each, float64 (B, 4, C) on the host.

        Args:
            segments: of each image, whole numbers (h, w), 0 for none and k for segment k.
            labels: int64 (S,) of each image.
            truths: of each image `labels` (N,), `crowd` (N,) and `rle`, N compressed run lengths of (h, w).
        """
        rows = [self._count(*one) for one in zip(segments, labels, truths, strict=True)]
        self.latest = torch.from_numpy(np.stack(rows))
        self.sums += (UNIT * self.latest).round().long().sum(0).to(self.sums.device)

    def _count(self, segments: Tensor, labels: Tensor, truth: dict) -> np.ndarray:
        found, names = segments.cpu().numpy(), labels.cpu().numpy()
        if truth["rle"]:
            true = from_runs(truth["rle"], truth["labels"], truth["crowd"])
        else:
            true = Truth(np.zeros_like(found), np.zeros(0, np.int64), np.zeros(0, bool))
        shared = shared_pixels(true.segments, found, len(true.labels), len(names))
        return count_matches(shared, true.labels, true.crowd, names, len(self.things))

    def compute(self) -> dict[str, Tensor]:
        """The scores, scalars in float32."""
        parts = by_groups(self.sums.cpu().numpy()[None] / UNIT, self.things)
        found = {name: value for part in parts for name, value in part.values(np.ones((1, 1))).items()}
        return {name: torch.tensor(value[0], dtype=torch.float32) for name, value in found.items()}
