"""Augmentation pipelines of the views of an image, and the settings beside crop and recipe."""

from dataclasses import dataclass, replace
from typing import Any

import albumentations as A
import numpy as np

from datamodules.augment import RECIPES, Augment, Erasing, Keyed, Recipe
from modules.contracts import ConfigError, check_range, check_sizes

View = tuple[int, int, tuple[float, float] | None]
"""Number, side in pixels and area of the crop of the views of one kind."""


class ConsistentView:
    """A view that shares crop and flip with the other views of its image.

    Args:
        first: crop and flip, drawn by the key of view 0.
        then: everything else, drawn by the key of the view; null for nothing.
    """

    def __init__(self, first: Augment, then: Keyed | None):
        self.first, self.then = first, then

    def __call__(self, image: np.ndarray, *key: int) -> np.ndarray:
        """Augment uint8 (H, W, 3) by a key that ends in the number of the view."""
        image = self.first(image, *key[:-1], 0)
        if self.then is None:
            return image
        self.then.seed(*key)
        return self.then.transforms(image=image)["image"]


@dataclass(frozen=True)
class PolicySettings:
    """Settings of augmentation beside crop and recipe; see `ImageDataModule`."""

    scale_jitter: tuple[int, int] | None
    erasing: Erasing
    erasing_prob: float
    repeats: int
    consistent_views: bool

    def check(self, kinds: list[View], augment: Recipe | list[A.BasicTransform], where: str) -> None:
        """Check that they go with each other.

        Args:
            kinds: of the views.
            augment: the recipe.
            where: `data.augment_device`.

        Raises:
            ConfigError: they do not.
        """
        check_sizes("data", repeats=self.repeats)
        check_range("data.erasing_prob", self.erasing_prob, high=1)
        (count, size, area), jitter = kinds[0], self.scale_jitter
        if jitter and not size <= jitter[0] <= jitter[1]:
            raise ConfigError(
                f"data.scale_jitter is {list(jitter)}, but it is a range of sides of at least data.image_size, {size}"
            )
        if jitter and area:
            raise ConfigError("data.scale_jitter cuts squares in place of data.crop: leave out one of them")
        if where == "device" and (jitter or self.erasing != "none"):
            raise ConfigError(
                "data.augment_device device knows no data.scale_jitter and data.erasing: leave them out, or set it to "
                "cpu"
            )
        if not self.consistent_views:
            return
        if count < 2 or len(kinds) > 1 or where == "device" or not isinstance(augment, str) or self.erasing != "none":
            raise ConfigError(
                "data.consistent_views takes data.views 2 or more of a named data.augment, without local views and "
                "erasing, on the cpu: set these, or leave it out"
            )

    def pipelines(self, kinds: list[View], augment: Recipe | list[A.BasicTransform]) -> list[list[Any]]:
        """Pipeline of each view, one list per kind."""
        erasing = None if self.erasing == "none" else (self.erasing_prob, self.erasing)
        if self.consistent_views and isinstance(augment, str):
            count, size, area = kinds[0]
            flip = A.HorizontalFlip(p=RECIPES[augment].flip)
            first = Augment(size, area, [flip], self.scale_jitter)
            rest = replace(RECIPES[augment], flip=0.0).transforms(size)
            views = [ConsistentView(first, None)]
            return [[*views, *(ConsistentView(first, Keyed(rest)) for _ in range(count - 1))]]
        return [
            [Augment(size, area, augment, self.scale_jitter if kind == 0 else None, erasing)] * count
            for kind, (count, size, area) in enumerate(kinds)
        ]
