"""COCO metrics of detection (Lin et al. 2014), by faster-coco-eval, which counts as pycocotools does."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from modules.metrics.detection_arrays import Image, Kind

RANGES = np.array([(0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10)])  # all, small, medium, large, in pixels
IOU50, IOU75 = 0, 5  # of .50:.05:.95
AREAS = ("small", "medium", "large")  # in the order of COCOeval, after the one of all


class Coco(NamedTuple):
    """Results of COCO's evaluation.

    Args:
        metrics: `map`, `map50`, `map75`, `map_small`, `map_medium`, `map_large` and, for each limit of detections,
            `mar_<limit>`; 0..1, nan where there is no object to find.
        per_class: `objects` int64 (C,), without crowds; `ap` and `ap50` float64 (C,), nan for a class without objects.
        curves: `recall` float64 (101,), and at IoU .5 and .75 for each class `precision50`, `precision75` (C, 101),
            the highest at that recall or a higher one, and `score50`, `score75` (C, 101), of the detection that
            reaches it; nan for a class without objects, 0 for a recall that is not reached.
    """

    metrics: dict[str, float]
    per_class: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]


def evaluate(images: list[Image], classes: int, kind: Kind, maximum: int = 100) -> Coco:
    """Evaluates the boxes, the masks or the keypoints of images.

    A detection's area is that of its box, its mask or the box around its keypoints, an object's that of its annotation.
    Ties of scores are broken by the order of the images.

    Args:
        images: in the order of their image ids, if ties are to be broken as in pycocotools.
        classes: labels are 0..classes - 1.
        kind: boxes, masks or keypoints, whose IoU is the OKS.
        maximum: detections that count of each class in each image, those with the highest scores.
    """
    shared = {"images": [{"id": i} for i in range(len(images))], "categories": [{"id": i} for i in range(classes)]}
    found, true = (
        COCO(shared | {"annotations": [{"id": i, **entry} for i, entry in enumerate(entries, 1)]})  # 0: not matched
        for entries in (_found(images, kind), _true(images))
    )
    evaluation = _Evaluation(true, found, images, kind)
    limits = sorted({limit for limit in (1, 10, maximum) if limit <= maximum})
    evaluation.params.maxDets = limits
    evaluation.evaluate()
    evaluation.accumulate()
    precision, recall, score = (evaluation.eval[key] for key in ("precision", "recall", "scores"))
    return Coco(_metrics(precision, recall, limits), _per_class(precision, images, kind), _curves(precision, score))


class _Evaluation(COCOeval_faster):
    """COCOeval that takes the overlaps from us, of masks too: on its own it packs each mask anew."""

    def __init__(self, true: COCO, found: COCO, images: list[Image], kind: Kind):
        super().__init__(true, found, "keypoints" if kind == "keypoints" else "bbox")
        self.images, self.kind = images, kind
        self.params.areaRng, self.params.areaRngLbl = RANGES.tolist(), ["all", *AREAS]

    def computeIoU(self, image: int, label: int) -> np.ndarray:
        return self.images[image].of_class(label, self.params.maxDets[-1]).overlaps(self.kind)

    def computeOks(self, image: int, label: int) -> np.ndarray:
        return self.computeIoU(image, label)


def _true(images: list[Image]) -> Iterator[dict[str, Any]]:
    for i, image in enumerate(images):
        crowd, labeled = image.crowd.astype(int).tolist(), np.zeros(len(image.crowd))
        if len(image.true_points):
            labeled = image.labeled.sum(1)
        columns = (image.true_labels.tolist(), image.area.tolist(), crowd, labeled.tolist())
        for label, area, crowds, count in zip(*columns, strict=True):
            yield {"image_id": i, "category_id": label, "area": area, "iscrowd": crowds, "num_keypoints": count}


def _found(images: list[Image], kind: Kind) -> Iterator[dict[str, Any]]:
    for i, image in enumerate(images):
        areas = image.found_areas(kind)
        for label, score, area in zip(image.labels.tolist(), image.scores.tolist(), areas.tolist(), strict=True):
            yield {"image_id": i, "category_id": label, "score": score, "area": area, "iscrowd": 0}


# In what follows precision is (IoU, recall, class, area, limit) and recall (IoU, class, area, limit), 0..1, and -1
# where there is nothing to find. The last limit is the largest; the first area is all.


def _metrics(precision: np.ndarray, recall: np.ndarray, limits: list[int]) -> dict[str, float]:
    every, areas = precision[..., 0, -1], {f"map_{name}": precision[..., i, -1] for i, name in enumerate(AREAS, 1)}
    recalls = {f"mar_{limit}": recall[..., 0, i] for i, limit in enumerate(limits)}
    values = {"map": every, "map50": every[IOU50], "map75": every[IOU75]} | areas | recalls
    return {name: mean(_or_nan(value)) for name, value in values.items()}


def _per_class(precision: np.ndarray, images: list[Image], kind: Kind) -> dict[str, np.ndarray]:
    every = _or_nan(precision[..., 0, -1])
    labels = [image.true_labels[~image.ignored(kind)] for image in images]
    objects = np.bincount(np.concatenate([*labels, np.zeros(0, np.int64)]), minlength=every.shape[2])
    return {"objects": objects, "ap": every.mean((0, 1)), "ap50": every[IOU50].mean(0)}


def _curves(precision: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray]:
    curves = {"recall": np.linspace(0, 1, precision.shape[1])}
    for name, values in (("precision", precision), ("score", score)):
        for suffix, iou in (("50", IOU50), ("75", IOU75)):
            curves[name + suffix] = _or_nan(values[iou, ..., 0, -1]).T
    return curves


def _or_nan(values: np.ndarray) -> np.ndarray:
    return np.where(values > -1, values, np.nan)


def mean(values: np.ndarray) -> float:
    """Mean of the values that are not nan; nan when there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
