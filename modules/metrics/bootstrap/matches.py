"""Matches of detections with true objects, as COCO makes them, kept for each image."""

import numpy as np

from modules.metrics import matching
from modules.metrics.bootstrap.objects import Objects
from modules.metrics.coco import RANGES
from modules.metrics.detection_arrays import Image, Kind

IOU = np.linspace(0.5, 0.95, 10)


def objects(images: list[Image], kind: Kind, maximum: int, voc: bool, prefix: str) -> Objects:
    """Match the detections of each image with its true objects.

    Args:
        images: N of them, in the order of the items.
        kind: boxes, masks or keypoints.
        maximum: detections that count of each class in each image.
        voc: match by the rules of Pascal VOC too.
        prefix: before the names of the metrics.
    """
    rows: dict[str, list[np.ndarray]] = {}
    start = 0
    for number, image in enumerate(images):
        overlap = image.overlaps(kind)
        close, hits = _hits(image, kind, overlap, maximum)
        of_image = {
            "image": np.full(len(image.labels), number),
            "label": image.labels,
            "score": image.scores,
            "rank": _ranks(image.labels),
            "inside": _inside(image.found_areas(kind)),
            "close": start + close,
            "hits": hits,
            "true_image": np.full(len(image.true_labels), number),
            "true_label": image.true_labels,
            "true_inside": _inside(image.area) & ~image.ignored(kind)[:, None],
            "voc": matching.voc_hits(image, overlap) if voc else np.zeros(0, np.int8),
        }
        start += len(image.labels)
        for name, part in of_image.items():
            rows.setdefault(name, []).append(part)
    limits = sorted({limit for limit in (1, 10, maximum) if limit <= maximum})
    return Objects(prefix, limits, **{name: np.concatenate(parts) for name, parts in rows.items()})


def _hits(image: Image, kind: Kind, overlap: np.ndarray, maximum: int) -> tuple[np.ndarray, np.ndarray]:
    """Detections that match something, (M,), and their matches int8 (M, A, T), as `Objects` says.

    The detections of a class, the highest score first, take the free object that they overlap most, the last of equal
    ones; objects that do not count (crowds, those of another area) only where no other is left. A crowd stays free.
    """
    allowed = (image.labels[:, None] == image.true_labels) & (_ranks(image.labels) < maximum)[:, None]
    reach = np.where(allowed, overlap, 0)
    close = np.flatnonzero(reach.max(1, initial=0) >= IOU[0])
    ignored = (~_inside(image.area) | image.ignored(kind)[:, None]).T[:, None]  # (A, 1, G)
    taken = np.zeros((len(RANGES), len(IOU), len(image.crowd)), bool)
    hits = np.zeros((len(close), len(RANGES), len(IOU)), np.int8)
    areas, ious = np.ix_(range(len(RANGES)), range(len(IOU)))
    for i, detection in enumerate(close):
        fits = (reach[detection] >= IOU[:, None]) & ~(taken & ~image.crowd)
        preferred = np.where(fits, reach[detection] + 2 * ~ignored, 0)[..., ::-1]
        best = preferred.shape[2] - 1 - preferred.argmax(2)  # (A, T)
        matched = preferred.max(2) > 0
        taken[areas, ious, best] |= matched
        hits[i] = np.where(matched, np.where(ignored[areas, 0, best], -1, 1), 0)
    some = hits.any((1, 2))
    return close[some], hits[some]


def _ranks(labels: np.ndarray) -> np.ndarray:
    """Number of earlier entries of the same label, int64 (D,)."""
    order = np.argsort(labels, kind="stable")
    _, first, sizes = np.unique(labels[order], return_index=True, return_counts=True)
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(first, sizes)
    return ranks


def _inside(areas: np.ndarray) -> np.ndarray:
    """Membership of areas (N,) in all, small, medium and large: bool (N, 4)."""
    return (areas[:, None] >= RANGES[:, 0]) & (areas[:, None] <= RANGES[:, 1])
