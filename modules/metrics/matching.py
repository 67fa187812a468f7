"""Metrics beyond COCO: average precision of Pascal VOC, the DSB 2018 score, and error kinds after TIDE.

All start from one image and the IoU of its detections with its objects (`Image.overlaps`).
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from modules.metrics.detection_arrays import Image

MATCH_IOU, BACKGROUND_IOU = 0.5, 0.1
ERRORS = ("class", "location", "both", "duplicate", "background", "missed")
BOTH = ERRORS.index("both")
NUCLEI = tuple(i / 20 for i in range(10, 20))  # .50:.05:.95, each the float that a fraction of areas can equal


def voc_hits(image: Image, overlap: np.ndarray) -> np.ndarray:
    """True and false positives by the rules of Pascal VOC (Everingham et al. 2010): int8 (D,), 1, 0, or -1 for ignored.

    A detection is compared with the object of its class that it overlaps most. It is right (1) when their IoU is at
    least .5 and no detection with a higher score has taken that object, else wrong (0). One that overlaps no object so
    far, but lies in a crowd of its class by half or more, does not count (-1).
    """
    same = image.labels[:, None] == image.true_labels
    hits = -(np.where(same & image.crowd, overlap, 0).max(1, initial=0) >= MATCH_IOU).astype(np.int8)
    reach = np.where(same & ~image.crowd, overlap, 0)
    near = np.flatnonzero(reach.max(1, initial=0) >= MATCH_IOU)
    hits[near] = 0
    if near.size:
        _, first = np.unique(reach[near].argmax(1), return_index=True)
        hits[near[first]] = 1
    return hits


def voc(images: list[Image], hits: list[np.ndarray], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Average precision of each class, float64 (C,) each: area under the curve (from VOC 2010 on), and 11-point (2007).

    Args:
        images: all of them; of detections with equal scores the one of the earlier image is taken first.
        hits: of each image, from `voc_hits`.
        classes: C.
    """
    columns = ([p.labels for p in images], [p.scores for p in images], hits)
    labels, scores, hits = (np.concatenate([*column, np.zeros(0)]) for column in columns)
    true = np.concatenate([*(p.true_labels[~p.crowd] for p in images), np.zeros(0, np.int64)])
    each = [average_precision(scores[labels == i], hits[labels == i], int((true == i).sum())) for i in range(classes)]
    area, eleven = np.array(each).T
    return area, eleven


def average_precision(scores: np.ndarray, hits: np.ndarray, objects: int) -> tuple[float, float]:
    """Area under the precision-recall curve of one class, and VOC 2007's mean of its precision at 11 recalls.

    Precision at a recall is the highest at that recall or a higher one.

    Args:
        scores: (N,), of the detections of all images; of equal ones the first is taken first.
        hits: (N,), as `voc_hits` says.
        objects: number of true objects.

    Returns:
        Both 0..1; nan without objects.
    """
    if not objects:
        return float("nan"), float("nan")
    right = hits[np.argsort(-scores, kind="stable")]
    right = (right[right >= 0] == 1).cumsum()
    precision = np.maximum.accumulate((right / np.arange(1, len(right) + 1))[::-1])[::-1]
    recall = right / objects
    area = float((np.diff(recall, prepend=0) * precision).sum())
    at = np.searchsorted(recall, np.arange(11) / 10)
    return area, float(np.append(precision, 0)[at].mean())


def dsb2018_score(image: Image, overlap: np.ndarray, confidence: float) -> float:
    """The score of an image in the Data Science Bowl 2018 (Caicedo et al. 2019): mean of TP / (TP + FP + FN), 0..1.

    The mean is over the IoU .50:.05:.95. A detection finds an object of its class when their IoU is greater; as many
    pairs as possible are made, each object and each detection in one at most, whatever the scores. Crowds are not
    looked for, and detections that lie in one are left out, by the same IoU.

    Args:
        image: detections and truth.
        overlap: of all of them.
        confidence: lowest score of the detections that count; the competition had no scores.

    Returns:
        nan where there is nothing and nothing was found.
    """
    sure = image.scores >= confidence
    same, overlap = (image.labels[:, None] == image.true_labels)[sure], overlap[sure]
    objects, scores = int((~image.crowd).sum()), []
    for iou in NUCLEI:
        pairs = same & (overlap > iou)
        matched = maximum_bipartite_matching(csr_array(pairs[:, ~image.crowd]), perm_type="column") >= 0
        counted = matched | ~pairs[:, image.crowd].any(1)
        every = objects + counted.sum() - matched.sum()
        scores.append(matched.sum() / every if every else np.nan)
    return float(np.mean(scores))


def errors(image: Image, overlap: np.ndarray, confidence: float) -> np.ndarray:
    """Counts of each kind of error, int64 (6,) in the order of ERRORS, after TIDE (Bolya et al. 2020).

    Detections take, the highest score first, the free object of their class that they overlap most, by an IoU of at
    least .5. The error of any other is the first that holds: `location`, its IoU with objects of its class reaches .1
    but not .5; `class`, that with objects of other classes reaches .5; `duplicate`, an object of its class is taken by
    a detection with a higher score; `background`, no IoU is above .1; else `both`, wrong in class and in location.
    `missed` are objects that neither a detection took nor a `class` or `location` error names as its nearest. Crowds
    are no objects; detections that lie in one of their class by half or more, and take no object, do not count.

    TIDE counts all detections; here those of scores below `confidence` are left out.

    Args:
        image: detections and truth.
        overlap: of all of them.
        confidence: lowest score of the detections that count.
    """
    sure = image.scores >= confidence
    same, overlap = (image.labels[:, None] == image.true_labels)[sure], overlap[sure]
    crowded = np.where(same & image.crowd, overlap, 0).max(1, initial=0) >= MATCH_IOU
    same, overlap = same[:, ~image.crowd], overlap[:, ~image.crowd]
    own, other = np.where(same, overlap, 0), np.where(same, 0, overlap)
    near, far, taken = own.max(1, initial=0), other.max(1, initial=0), _take(own)
    location = (near >= BACKGROUND_IOU) & (near < MATCH_IOU)
    holds = [location, far >= MATCH_IOU, near >= MATCH_IOU, np.maximum(near, far) <= BACKGROUND_IOU]
    kinds = np.select(holds, [ERRORS.index(name) for name in ("location", "class", "duplicate", "background")], BOTH)
    kinds[(taken >= 0) | crowded] = -1
    named = [reach[kinds == ERRORS.index(name)] for name, reach in (("location", own), ("class", other))]
    seen = np.concatenate([taken[taken >= 0], *(reach.argmax(1) for reach in named if reach.size)])
    missed = own.shape[1] - len(np.unique(seen))
    return np.append(np.bincount(kinds[kinds >= 0], minlength=len(ERRORS) - 1), missed)


def _take(reach: np.ndarray) -> np.ndarray:
    """Greedy matching by falling score: object of each detection, -1 for none, int64 (D,), from IoU (D, G)."""
    taken, free = np.full(len(reach), -1), reach.copy()
    for i in np.flatnonzero(reach.max(1, initial=0) >= MATCH_IOU):
        best = free[i].argmax()
        if free[i, best] >= MATCH_IOU:
            taken[i] = best
            free[:, best] = 0
    return taken
