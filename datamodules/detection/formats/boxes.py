"""Checks of annotated boxes: clipping to the image, invalid boxes, and coordinates read in the wrong form."""

import numpy as np

from datamodules.detection.formats.raw import Form, corners

FORMS: tuple[Form, ...] = ("xyxy", "xywh", "cxcywh")
MIN_BOXES = 10  # fewer boxes are too few to suspect a file's form
ODD = 0.1  # share of boxes that do not fit, above which another form is suspected
FINE = 0.01  # ... if the share is at most this in that form


def clip(boxes: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Clip boxes to their images: float32 (M, 4), and by index the reason why a box is invalid.

    Args:
        boxes: float64 (M, 4), xyxy in pixels.
        shapes: (M, 2), height and width of the image of each.
    """
    clipped = np.clip(boxes, 0, shapes[:, [1, 0, 1, 0]]).astype(np.float32)
    with np.errstate(invalid="ignore"):
        sides, left = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    wrong: dict[int, str] = {}
    for reason, where in (
        ("is not four finite numbers", ~np.isfinite(boxes).all(1)),
        ("is reversed", (sides < 0).any(1)),
        ("has no area", (sides == 0).any(1)),
        ("lies outside the image", ~(left > 0).all(1)),
    ):
        wrong = {int(k): reason for k in np.flatnonzero(where)} | wrong  # the first reason stays
    return clipped, wrong


def beyond(boxes: np.ndarray, shapes: np.ndarray, pixels: float = 1.0) -> np.ndarray:
    """bool (M,): true for boxes (xyxy in pixels) that reach out of their images by more than so many pixels."""
    return (boxes[:, :2] < -pixels).any(1) | (boxes[:, 2:] > shapes[:, ::-1] + pixels).any(1)


def misread(boxes: np.ndarray, form: Form, limits: np.ndarray) -> str:
    """A warning if many boxes are invalid in the form they are read in, but almost none in another; else empty.

    Args:
        boxes: float64 (M, 4) as in the files.
        limits: (M, 2), height and width that the boxes lie in, in their own unit.
    """
    known = np.isfinite(boxes).all(1)
    boxes, limits = boxes[known], limits[known]
    if len(boxes) < MIN_BOXES:
        return ""
    shares = {other: _strange(corners(boxes, other), limits).mean() for other in FORMS}
    best = min(FORMS, key=shares.__getitem__)
    if shares[form] <= ODD or shares[best] > FINE:
        return ""
    return (
        f"{100 * shares[form]:.0f} % of the boxes are reversed or reach out of their images when read as {form}, "
        f"{100 * shares[best]:.0f} % when read as {best}: check which of them the file holds"
    )


def _strange(boxes: np.ndarray, limits: np.ndarray) -> np.ndarray:
    slack = 0.01 * limits[:, ::-1]
    inside = (boxes[:, :2] >= -slack) & (boxes[:, 2:] <= limits[:, ::-1] + slack)
    return ~(inside & (boxes[:, 2:] > boxes[:, :2])).all(1)
