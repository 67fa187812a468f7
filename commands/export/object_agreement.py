"""Comparison of two programs' objects: boxes, classes, scores and masks of the same images."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from commands.export.agreement import COMPARISONS, Difference, Limits, Predictions, difference

SURE = 0.5
"""Score from which an object is a decision of its own."""
CUT = 1e-3
"""Share by which the score of an object may be above the least one that is kept, and be missing in the other."""


TIE = 1e-4
"""Distance of an IoU from that of suppression within which rounding decides."""


def object_differences(reference: Predictions, found: Predictions, limits: Limits | None) -> list[Difference]:
    """Agreement of the objects, and differences between the boxes, scores and masks of those that both have.

    An object agrees if the other program has one of its class at the IoU of the limits. `objects` counts all but those
    at the edge of being left out, with the lowest score that there may be, or that of an image with the most objects;
    `labels` counts those of them with a score of 0.5 and more. Objects that one side has alone because of a tie in
    suppression count apart.
    """
    limits = limits or Limits(0.0, 0)
    pairs, agree, sure, ties = [], [], [], []
    for sides in zip(reference, found, strict=True):
        matched = list(matches(*sides, limits.iou))
        pairs += [(_row(sides[0], i), _row(sides[1], j)) for i, j in matched]
        for side, here in enumerate(sides):
            other = sides[1 - side]["scores"]
            edge = max(limits.score, other.min() if len(other) == limits.count > 0 else 0.0) * (1 + CUT)
            known = np.isin(np.arange(len(here["scores"])), [pair[side] for pair in matched])
            counts = known | (here["scores"] > edge)
            tied = ~known & counts & suppressed_by_rounding(here, known, limits)
            counts &= ~tied
            ties += here["scores"][tied].tolist()
            agree += known[counts].tolist()
            sure += known[counts & (here["scores"] >= SURE)].tolist()
    shares = [
        Difference(name, float(np.mean(each or [True])), ties=sum(score >= low for score in ties))
        for name, each, low in (("labels", sure, SURE), ("objects", agree, 0.0))
    ]
    if not pairs:
        return shares
    first, second = zip(*pairs, strict=True)
    keys = [key for key in ("boxes", "scores", "rle") if key in first[0]]
    return shares + [difference(key, [one[key] for one in first], [one[key] for one in second]) for key in keys]


def matches(reference: dict[str, Any], found: dict[str, Any], iou: float) -> Iterator[tuple[int, int]]:
    """Indices of the objects that two predictions of an image have in common."""
    same = overlaps(reference["boxes"], found["boxes"]) >= iou
    same &= reference["labels"][:, None] == found["labels"]
    apart = np.where(same, np.abs(reference["scores"][:, None] - found["scores"]), np.inf)
    for i in np.argsort(-reference["scores"], kind="stable"):
        if len(found["scores"]) and np.isfinite(apart[i, j := int(apart[i].argmin())]):
            apart[:, j] = np.inf
            yield int(i), j


def suppressed_by_rounding(here: dict[str, Any], known: np.ndarray, limits: Limits) -> np.ndarray:
    """True for objects whose IoU with a better one, `known` to both sides, is that of suppression but for rounding."""
    iou = overlaps(here["boxes"], here["boxes"])
    near = (np.abs(iou - limits.overlap) <= TIE) & (iou > 0)
    near &= (here["scores"] >= here["scores"][:, None]) & known
    return (near & (limits.agnostic | (here["labels"] == here["labels"][:, None]))).any(1)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU (N, M) of boxes (N, 4) and (M, 4)."""
    low, high = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    common = (high - low).clip(0).prod(-1)
    areas = ((each[:, 2:] - each[:, :2]).prod(-1) for each in (boxes, others))
    return common / np.maximum(np.add.outer(*areas) - common, 1e-12)


def _row(prediction: dict[str, Any], row: int) -> dict[str, Any]:
    values = {key: prediction[key][row] for key in prediction}
    if "rle" in values:
        from pycocotools import mask

        values["rle"] = mask.decode(values["rle"])
    return values


COMPARISONS[frozenset(("boxes", "scores", "labels"))] = object_differences
