"""Bar charts of kinds of detection errors."""

import numpy as np
import pytest

from callbacks.writers.detection_errors import MEANING, error_bars
from modules.metrics.detection import Report

BLUE = (0x1F, 0x5F, 0xA8)


def report(*counts):
    """Report with counts of class, location, both, duplicate, background and missed errors."""
    total = sum(counts)
    shares = [count / total if total else np.nan for count in counts]
    return Report({}, {}, dict(zip(MEANING, zip(counts, shares, strict=True), strict=True)))


def lengths(drawn):
    """Lengths of the bars in pixels, from top to bottom."""
    rows = (drawn == BLUE).all(2).sum(1)
    starts = np.flatnonzero(np.diff((rows > 0).astype(int)) == 1) + 1
    return [rows[start : start + 15].max() for start in starts]


def test_bars_are_as_long_as_the_counts():
    drawn = lengths(error_bars({"boxes": report(20, 0, 5, 0, 10, 40)}, "$ title"))
    assert np.array(drawn) / drawn[-1] == pytest.approx([20 / 40, 5 / 40, 10 / 40, 1], abs=0.02)


def test_masks_stand_beside_boxes():
    boxes, nothing = report(20, 0, 5, 0, 10, 40), report(0, 0, 0, 0, 0, 0)
    alone, both = error_bars({"boxes": boxes}, "t"), error_bars({"boxes": boxes, "masks": nothing}, "t")
    assert both.shape[0] == alone.shape[0]
    assert both.shape[1] > 1.5 * alone.shape[1]
    middle = both.shape[1] // 2 + 120
    assert (both[:, :middle] == BLUE).all(2).any()
    assert not (both[:, middle:] == BLUE).all(2).any()
