"""Keys of batches and predictions."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from modules.contracts.errors import DataError

Batch = dict[str, Any]
"""Keys and shapes as in the README's table: `image`, `views`, `label`, `id`, ..."""

Prediction = dict[str, Any]
"""Same keys as a batch; `label` + `scores` (B, C), `features` (B, D), ..."""

IGNORE = 255
"""Ignore index of semantic maps: void pixels, and the padding around an image."""

SURPLUS = "surplus"
"""Key of a surplus batch, left out of metrics: given to a device without a batch of its own, so that all take part."""

GREEDY = "_greedy"
"""Suffix of metrics of greedy search, in validations between epochs."""


def check_labels(batch: Any, classes: Sequence[str] | None) -> None:
    """Check that integer labels and masks of a batch name one of the classes, or `IGNORE` in masks.

    Raises:
        DataError: one does not; on a device it would end the program without a word.
    """
    if classes is None or not isinstance(batch, dict):
        return
    for key in {"label", "labels", "mask"} & batch.keys():
        parts = batch[key] if isinstance(batch[key], list | tuple) else [batch[key]]
        for part in (one for one in parts if isinstance(one, Tensor) and not one.is_floating_point()):
            beyond = part[(part < 0) | (part >= len(classes)) & ~((part == IGNORE) & (key == "mask"))]
            if len(beyond):
                raise DataError(f"{key} {int(beyond[0])} of a batch is none of the {len(classes)} classes: 0 to C - 1")
