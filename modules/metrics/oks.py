"""Object keypoint similarity (OKS) of COCO, and the sigmas of its keypoints."""

from collections.abc import Sequence

import numpy as np
from pycocotools.cocoeval import Params

from modules.contracts import ConfigError

NO_POINTS = np.zeros((0, 1, 3))
COCO_NAMES = (
    "nose",
    *(
        f"{side}_{part}"
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ),
)
"""COCO's keypoints of a person, in its order."""

UNIFORM = 0.05
"""Sigma of keypoints of other names; the mean of COCO's, which differ by how surely people agree, is 0.07."""


def oks(found: np.ndarray, true: np.ndarray, boxes: np.ndarray, area: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """OKS of each detection with each object, float64 (D, G): mean of exp(-d^2 / (2 area (2 sigma)^2)) over keypoints.

    The mean is over the labeled keypoints. Of an object without one, d is the distance to its box, doubled in size.

    Args:
        found: (D, K, 3), x and y of the detections' keypoints.
        true: (G, K, 3), x, y and visibility flag.
        boxes: (G, 4) of the objects, x, y, width, height.
        area: (G,) of the objects.
        sigmas: (K,), in units of the root of the area.
    """
    labeled = true[..., 2] > 0
    apart = found[:, None, :, :2] - true[None, ..., :2]
    low, high = (boxes[:, :2] - boxes[:, 2:])[:, None], (boxes[:, :2] + 2 * boxes[:, 2:])[:, None]
    places = found[:, None, :, :2]
    outside = np.maximum(low - places, 0) + np.maximum(places - high, 0)
    none: np.ndarray = labeled.sum(1) == 0
    distance = np.where(none[:, None, None], outside, apart)
    scale = (area[:, None] + np.spacing(1)) * 2 * (2 * sigmas) ** 2
    closeness = np.exp(-(distance**2).sum(-1) / scale)
    counted = labeled | none[:, None]
    return (closeness * counted).sum(-1) / counted.sum(-1)


def sigmas_of(names: Sequence[str], given: Sequence[float] | None) -> tuple[list[float], str]:
    """Sigmas of keypoints, and a text about them: as given, COCO's for its 17 names, else `UNIFORM`.

    Raises:
        ConfigError: another number of sigmas than keypoints, or one that is not above 0.
    """
    if given is not None:
        if len(given) != len(names) or min(given) <= 0:
            raise ConfigError(
                f"model.sigmas is {list(given)}: give a number above 0 for each of the {len(names)} keypoints"
            )
        return list(given), f"sigmas {', '.join(f'{value:g}' for value in given)}"
    if tuple(names) == COCO_NAMES:
        return Params("keypoints").kpt_oks_sigmas.tolist(), "COCO's 17 sigmas"
    return [UNIFORM] * len(names), f"a sigma of {UNIFORM:g} for all keypoints"
