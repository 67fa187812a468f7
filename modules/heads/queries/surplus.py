"""Objects or segments of an image beyond the queries of a head."""

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from modules.contracts import counted


class Surplus:
    """Count and report the objects of images that have more of them than a head has queries.

    Args:
        queries: of the head.
    """

    def __init__(self, queries: int):
        self.queries = queries
        self.most = queries  # objects of an image that were reported

    def line(self, counts: np.ndarray) -> str | None:
        """A line about training images with more objects than queries; null where there are none.

        Args:
            counts: objects of each training image, int64 (N,).
        """
        surplus = np.maximum(counts - self.queries, 0)
        if not surplus.any():
            return None
        self.most = int(counts.max())
        return (
            f"warning: {counted(int((surplus > 0).sum()), 'training images')} of {len(counts):,} with more objects "
            f"than head.queries {self.queries}, up to {self.most}: {surplus.sum():,} of {counts.sum():,} objects are "
            f"left out of the loss; raise --model.head.queries"
        )

    def warn(self, counts: list[int]) -> None:
        """Warn of an image with more objects than any that was reported before."""
        most = max(counts, default=0)
        if most > self.most:
            self.most = most
            rank_zero_warn(
                f"an image shows {most} objects, but head.queries is {self.queries}: {most - self.queries} of them are "
                f"left out of the loss; raise --model.head.queries"
            )
