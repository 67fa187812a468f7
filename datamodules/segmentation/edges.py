"""Detection of antialiased masks: gray values along edges that are mixtures of two classes, from smooth resizing."""

from collections.abc import Iterable

import cv2
import numpy as np

from modules.contracts import DataError

JUDGED = 20  # masks that are examined
BETWEEN = 0.8  # share of a value's pixels that have a lower and a higher neighbor, from which it is a mixture
MIN_MIXTURES = 3  # mixtures that may be chance
MAX_MIXED_SHARE = 0.3  # share of all pixels that mixtures may have; beyond it they are no edges


def check_edges(masks: Iterable[np.ndarray], where: str) -> None:
    """Refuse masks most of whose values occur only along edges between lower and higher values.

    Args:
        masks: whole numbers (H, W) each; the first 20 are examined.
        where: the name of their folder.

    Raises:
        DataError: names and counts such values.
    """
    counts, between, inside = (np.zeros(1 << 16, np.int64) for _ in range(3))
    for _, mask in zip(range(JUDGED), masks, strict=False):
        values = mask.astype(np.uint16)
        low, high = (change(values, np.ones((3, 3), np.uint8)) for change in (cv2.erode, cv2.dilate))
        counts += np.bincount(values.ravel(), minlength=len(counts))
        between += np.bincount(values[(low < values) & (values < high)], minlength=len(counts))
        inside += np.bincount(values[low == high], minlength=len(counts))
    found = np.flatnonzero(counts)
    mixed = found[(between[found] >= BETWEEN * counts[found]) & (inside[found] == 0)]
    pixels, total = counts[mixed].sum(), counts.sum()
    if len(mixed) < max(MIN_MIXTURES, np.count_nonzero(found) / 2) or pixels > MAX_MIXED_SHARE * total:
        return
    said = ", ".join(map(str, mixed[:5])) + (", ..." if len(mixed) > 5 else "")
    classes = np.setdiff1d(found, mixed).tolist()
    raise DataError(
        f"the masks in {where} hold {len(found)} values, of which {len(mixed)} ({said}) occur only along edges, on "
        f"{pixels:,} pixels ({100 * pixels / total:.1f} %): they were smoothed when drawn or resized; save them with "
        f"values {classes} alone, by nearest neighbor"
    )
