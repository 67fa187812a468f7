"""Images paired with semantic maps, and the classes of the numbers in the maps."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

import cv2
import numpy as np

from datamodules.source import Source
from modules.contracts import IGNORE, ConfigError
from modules.contracts.palette import RGB

HIGHEST = 1 << 16  # numbers in maps lie below


class Maps(Protocol):
    """Semantic maps, one per image."""

    def __len__(self) -> int: ...

    def values(self, index: int) -> np.ndarray:
        """Whole numbers (H, W)."""

    def path(self, index: int) -> Path:
        """The map's file, for messages."""

    def fingerprint(self) -> str | None:
        """A digest that changes when a map does; null for maps in memory, which are counted faster than hashed."""

    def palette(self) -> list[RGB] | None:
        """The colors that the files have for their numbers, if they have any."""


@dataclass(frozen=True)
class Legend:
    """Classes of the numbers in maps.

    Args:
        values: the number of each class.
        ignored: numbers without class (void).
        remedy: the advice in messages about other numbers.
    """

    values: tuple[int, ...]
    ignored: frozenset[int] = frozenset({IGNORE})
    remedy: str = "mend the mask"

    def __post_init__(self) -> None:
        if len(self.values) > IGNORE:
            raise ConfigError(
                f"data.classes or the masks have {len(self.values)} classes, but a semantic map tells at most {IGNORE} "
                f"apart: {IGNORE} is void"
            )

    @cached_property
    def table(self) -> np.ndarray:
        """uint8 (65536,): the class of each number, 255 for void."""
        table = np.full(HIGHEST, IGNORE, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        return table

    @cached_property
    def as_it_is(self) -> bool:
        """True if the numbers below 256 are the class indices themselves."""
        return bool((self.table[:256] == np.arange(256)).all())

    def classes(self, values: np.ndarray) -> np.ndarray:
        """Whole numbers as uint8 classes, 255 for void."""
        if values.dtype != np.uint8:
            return self.table[values]
        return values if self.as_it_is else cv2.LUT(values, self.table[:256])

    def knows(self, value: int) -> bool:
        """True for the number of a class or of void."""
        return value in self.ignored or value in self.values


@dataclass(frozen=True)
class Pairs:
    """Images, each with its semantic map."""

    images: Source
    maps: Maps
    legend: Legend
    labels: ClassVar[None] = None  # images have no class

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        return self.images.image(index)

    def mask(self, index: int) -> np.ndarray:
        """uint8 (H, W) of classes, 255 for void."""
        return self.legend.classes(self.maps.values(index))

    def id(self, index: int) -> str:
        return self.images.id(index)
