"""Keypoints drawn over images: a dot for each, and lines along the skeleton."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from callbacks.figures.base import shorten
from callbacks.figures.overlays import Palette
from callbacks.figures.strips import Entry, swatch
from modules.contracts.keypoints import OCCLUDED, KeypointLayout

PAPER = (255, 255, 255)
MAX_NAMES = 20  # keypoints in a legend


def draw_keypoints(
    image: np.ndarray, points: np.ndarray, edges: Sequence[tuple[int, int]], palette: Palette
) -> np.ndarray:
    """Draw the keypoints of objects over an image; those that are occluded as rings.

    Args:
        image: uint8 (H, W, 3).
        points: (N, K, 3), x and y in its pixels, and visibility flag or score; 0 is not drawn.
        edges: pairs of indices that a line joins.
        palette: RGB of each keypoint.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = image.copy()
    line = max(1, round(max(image.shape[:2]) / 300))
    for one in points[::-1]:
        seen = one[:, 2] > 0
        places = one[:, :2].round().astype(int).tolist()
        for a, b in edges:
            if seen[a] and seen[b]:
                cv2.line(drawn, places[a], places[b], PAPER, line, cv2.LINE_AA)
        for k in np.flatnonzero(seen).tolist():
            hidden = one[k, 2] == OCCLUDED
            cv2.circle(drawn, places[k], 2 * line + 2, PAPER, cv2.FILLED, cv2.LINE_AA)
            cv2.circle(drawn, places[k], 2 * line, palette[k], line if hidden else cv2.FILLED, cv2.LINE_AA)
    return drawn


def layout_of(owner: Any) -> KeypointLayout | None:
    """Layout of the keypoints of a task or a data module; null for those without."""
    return getattr(owner, "layout", None)


def edges_of(owner: Any) -> list[tuple[int, int]]:
    """Edges of the skeleton of a task or a data module; none for those without keypoints."""
    known = layout_of(owner)
    return known.edges if known else []


def names_of(owner: Any) -> tuple[str, ...]:
    """Names of the keypoints of a task or a data module; none for those without."""
    known = layout_of(owner)
    return known.names if known else ()


def keypoint_legend(names: Sequence[str], palette: Palette) -> list[Entry]:
    """Legend of keypoints, the first `MAX_NAMES`."""
    return [(shorten(name, 18), swatch(color)) for name, color in zip(names, palette, strict=True)][:MAX_NAMES]
