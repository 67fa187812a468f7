"""Keys of batches and predictions."""

from typing import Any

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
