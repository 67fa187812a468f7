"""Keypoints in COCO's json: names and skeleton of the categories, and x, y, visibility of each annotation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.coco_fields import integer
from modules.contracts import ConfigError, DataError
from modules.contracts.keypoints import ABSENT, VISIBLE, KeypointLayout, layout

FLAGS = "0 (not labeled), 1 (occluded) and 2 (visible)"


def one_layout(categories: Mapping[Path, list[dict[str, Any]]]) -> KeypointLayout:
    """Layout of the keypoints of all categories that have some, in all files.

    Raises:
        DataError: none has keypoints, two have different ones, names are no list of texts, or a skeleton joins others.
    """
    found: tuple[str, KeypointLayout] | None = None
    for file, every in categories.items():
        for category in every:
            if not category.get("keypoints"):
                continue
            where = f"{file} category {category['id']} ({category['name']})"
            own = _layout(category, where)
            if found and own.names != found[1].names:
                raise DataError(
                    f"{where} has the keypoints {list(own.names)}, but {found[0]} has {list(found[1].names)}: "
                    "use one list for all categories"
                )
            found = found or (where, own)
    if found is None:
        raise DataError(
            f"{next(iter(categories))} has no category with keypoints: add the list 'keypoints' of their names, or set "
            "--data.keypoints false"
        )
    return found[1]


def points_of(values: Any, points: KeypointLayout, where: str, number: Any) -> np.ndarray:
    """Keypoints float32 (K, 3) of an annotation; zeros where it has none, as where the flag is 0.

    Args:
        values: of the file, [x, y, visibility] of each keypoint in one list.
        points: their layout.
        where: the annotation.
        number: its id.

    Raises:
        DataError: not 3 K numbers, another visibility than 0, 1 and 2, or a labeled place that is no number.
    """
    where, count = f"{where} (id {number})", len(points.names)
    if not len(values):
        return np.zeros((count, 3), np.float32)
    try:
        found = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where} has keypoints that are no numbers ({error}): write x, y, visibility") from error
    if found.shape != (3 * count,):
        raise DataError(
            f"{where} has {found.size} values in keypoints, but its categories name {count} keypoints: "
            f"write {3 * count}, x, y and visibility of each"
        )
    found = found.reshape(count, 3)
    for name, flag in zip(points.names, found[:, 2].tolist(), strict=True):
        if flag not in range(ABSENT, VISIBLE + 1):
            raise DataError(f"{where} has the visibility {flag:g} of {name}, but there are {FLAGS} only")
    labeled = found[:, 2] > ABSENT
    if not np.isfinite(found[labeled]).all():
        raise DataError(f"{where} has a keypoint whose place is no number: write it, or the visibility 0")
    return np.where(labeled[:, None], found, 0).astype(np.float32)


def beyond_box(points: np.ndarray, boxes: np.ndarray, pixels: float = 1.0) -> np.ndarray:
    """bool (M, K): labeled keypoints (M, K, 3) outside of their boxes (M, 4), xyxy, by more than so many pixels."""
    low, high = boxes[:, None, :2] - pixels, boxes[:, None, 2:] + pixels
    return ((points[..., :2] < low) | (points[..., :2] > high)).any(-1) & (points[..., 2] > ABSENT)


def _layout(category: dict[str, Any], where: str) -> KeypointLayout:
    names, lines = category["keypoints"], category.get("skeleton") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{where} has keypoints {names!r}: write a list of their names")
    try:
        return layout(names, [[names[i - 1] for i in _pair(line, len(names), where)] for line in lines])
    except ConfigError as error:  # of names that the file has
        raise DataError(f"{where}: {error}") from error


def _pair(line: Any, count: int, where: str) -> list[int]:
    pair = [integer(end) for end in line] if isinstance(line, list) else []
    if len(pair) != 2 or not all(isinstance(end, int) and 1 <= end <= count for end in pair):
        raise DataError(
            f"{where} has {line!r} in its skeleton: write pairs of numbers from 1 to {count}, its keypoints"
        )
    return pair
