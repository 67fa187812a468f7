"""Segments drawn over images, in the colors of their classes."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.overlays import Palette, overlay
from modules.contracts import IGNORE

MAX_SEGMENTS = 254  # segments of an image that are drawn


def draw_segments(image: np.ndarray, segments: np.ndarray, labels: Sequence[int], palette: Palette) -> np.ndarray:
    """Overlay segments on the gray image, with dark borders between any two; what belongs to none is hatched.

    Args:
        image: uint8 (H, W, 3).
        segments: whole numbers (H, W), 0 for none and k for segment k, of which `MAX_SEGMENTS` are drawn.
        labels: class of each segment.
        palette: RGB of each class.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = (segments > 0) & (segments <= min(MAX_SEGMENTS, len(labels)))
    numbers = np.where(drawn, segments - 1, IGNORE).astype(np.uint8)
    colors = [palette[label] for label in labels[:MAX_SEGMENTS]]
    return overlay(image, numbers, colors or palette[:1])
