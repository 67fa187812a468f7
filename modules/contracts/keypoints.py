"""Layout of the keypoints of an object: their names, the skeleton between them, and left and right pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modules.contracts.errors import ConfigError

ABSENT, OCCLUDED, VISIBLE = 0, 1, 2
"""COCO's visibility flags: not labeled, labeled but hidden, labeled and visible."""

SIDES = ("left", "right")
Pairs = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class KeypointLayout:
    """Keypoints of an object, the same for all classes.

    Args:
        names: K of them, in the order of the annotations.
        skeleton: pairs of names that a line joins in figures.
        pairs: pairs of names that a horizontal flip swaps, such as left_eye and right_eye.

    Raises:
        ConfigError: no keypoint, a name twice, a pair of unknown or equal names, or a name in two pairs.
    """

    names: tuple[str, ...]
    skeleton: Pairs = ()
    pairs: Pairs = ()

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"keypoints are {list(self.names)}: give each keypoint a name of its own")
        for setting, pairs in (("skeleton", self.skeleton), ("flip_pairs", self.pairs)):
            for pair in pairs:
                if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(self.names):
                    raise ConfigError(f"{setting} has {list(pair)}: give pairs of two names out of {list(self.names)}")
        swapped = [name for pair in self.pairs for name in pair]
        if len(set(swapped)) < len(swapped):
            raise ConfigError(f"flip_pairs is {[list(pair) for pair in self.pairs]}: name each keypoint once")

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Indices of the keypoints that a line joins."""
        return [(self.names.index(a), self.names.index(b)) for a, b in self.skeleton]

    @property
    def flipped(self) -> np.ndarray:
        """Index int64 (K,) of the keypoint that takes the place of each in a flipped image."""
        order = np.arange(len(self.names))
        for pair in self.pairs:
            left, right = (self.names.index(name) for name in pair)
            order[[left, right]] = right, left
        return order


def layout(
    names: Sequence[str], skeleton: Sequence[Sequence[str]] = (), pairs: Sequence[Sequence[str]] | None = None
) -> KeypointLayout:
    """Layout from lists; null pairs are those whose names differ in `left` and `right` alone.

    Raises:
        ConfigError: as `KeypointLayout`.
    """
    swapped = left_right(names) if pairs is None else pairs
    lines, swapped = (tuple(tuple(map(str, pair)) for pair in part) for part in (skeleton, swapped))
    return KeypointLayout(tuple(map(str, names)), lines, swapped)


def left_right(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in `left` and `right` alone: left_eye and right_eye, LeftKnee and RightKnee."""
    known = {name.lower(): name for name in names}
    found = ((name, known.get(name.lower().replace(*SIDES))) for name in names if SIDES[0] in name.lower())
    return [(left, right) for left, right in found if right is not None]
