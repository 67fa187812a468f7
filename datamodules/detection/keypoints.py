"""Keypoints of objects: checks of the annotations, and lines about them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from datamodules.base import Split
from datamodules.detection.box_statistics import places
from datamodules.detection.objects import ObjectFiles
from modules.contracts import ConfigError
from modules.contracts.keypoints import ABSENT, OCCLUDED, SIDES, VISIBLE, KeypointLayout


def in_words(layout: KeypointLayout, splits: Mapping[Split, tuple[Any, np.ndarray]], flips: bool) -> list[str]:
    """Lines of the startup summary: keypoints by visibility in each split, and what flips swap."""
    names = ", ".join(layout.names[:8]) + (f" and {len(layout.names) - 8} more" if len(layout.names) > 8 else "")
    lines = [f"keypoints of an object: {len(layout.names)} ({names})"]
    for split, (source, indices) in splits.items():
        flags = flags_of(source, indices)
        counts = [int((flags == flag).sum()) for flag in (VISIBLE, OCCLUDED, ABSENT)]
        bare = int((flags == ABSENT).all(1).sum())
        without = f"; {bare:,} of {len(flags):,} objects have none" if bare else ""
        lines.append(f"{split}: {counts[0]:,} visible, {counts[1]:,} occluded, {counts[2]:,} not labeled{without}")
    if not flips:
        return lines
    swapped = {name for pair in layout.pairs for name in pair}
    lone = [name for name in layout.names if any(side in name.lower() for side in SIDES) and name not in swapped]
    if lone:
        lines.append(f"warning: flips swap no other keypoint with {', '.join(lone)}: name pairs by --data.flip_pairs")
    elif not layout.pairs and len(layout.names) > 1:
        lines.append(
            "warning: flips swap no keypoints, as no name says left or right: name pairs by --data.flip_pairs, or set "
            "--data.augment none where sides matter"
        )
    return lines


def check_moves(moves: bool) -> None:
    """Refuse transforms that move pixels where there are keypoints.

    Raises:
        ConfigError: there are some.
    """
    if moves:
        raise ConfigError(
            "data.augment has transforms that move pixels, but not keypoints: leave these out, and take data.scale, "
            "data.iou_crop, data.mosaic and the recipe flip, which move both"
        )


def flags_of(source: ObjectFiles, indices: np.ndarray) -> np.ndarray:
    """Visibility flags (N, K) of the keypoints of some images, crowds left out."""
    _, chosen = places(source, indices)
    points: Any = source.keypoints
    return points[chosen[~source.crowd[chosen]], :, 2]
