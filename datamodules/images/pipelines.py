"""Augmentation pipelines of the views of an image, and the settings beside crop and recipe."""

from dataclasses import dataclass, replace
from typing import Any

import albumentations as A
import cv2
import numpy as np

from datamodules.augment import RECIPES, Augment, Erasing, Keyed, Recipe
from modules.contracts import ConfigError, check_range, check_sizes

View = tuple[int, int, tuple[float, float] | None]
"""Number, side in pixels and area of the crop of the views of one kind."""


class GrayView:
    """A view of one channel: the brightness (ITU-R BT.601) of the image is augmented as three equal channels.

    Hue, saturation and conversion to gray change nothing on these; brightness, contrast, blur and geometry work as on
    color images, with the same draws. Transforms that tint a gray image count by the brightness that they leave.

    Args:
        view: augments uint8 (H, W, 3) by a key.
    """

    def __init__(self, view: "Augment | ConsistentView"):
        self.view = view

    def __call__(self, image: np.ndarray, *key: int) -> np.ndarray:
        """Augment uint8 (H, W, 3) to (size, size, 1)."""
        equal = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return cv2.cvtColor(self.view(equal, *key), cv2.COLOR_RGB2GRAY)[..., None]


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
    channels: int = 3

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

    def plain(self, size: int) -> Augment | GrayView:
        """The view without augmentation: the center crop of `size` pixels."""
        view = Augment(size, None, "none")
        return GrayView(view) if self.channels == 1 else view

    def pipelines(self, kinds: list[View], augment: Recipe | list[A.BasicTransform]) -> list[list[Any]]:
        """Pipeline of each view, one list per kind."""
        made = self._pipelines(kinds, augment)
        return [[GrayView(view) for view in views] for views in made] if self.channels == 1 else made

    def _pipelines(self, kinds: list[View], augment: Recipe | list[A.BasicTransform]) -> list[list[Any]]:
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


def check_local(count: int, size: int, views: int, image_size: int) -> None:
    """Check number and side in pixels of local views beside the `views` global ones of `image_size` pixels.

    Raises:
        ConfigError: a negative number, no global ones to compare them with, or a side beyond theirs.
    """
    if count < 0:
        raise ConfigError(f"data.local_views is {count}, but it counts views: 0 for none")
    if views < 2:
        raise ConfigError(
            f"data.local_views is {count} with data.views {views}, but local views are compared with global ones: "
            f"set data.views to 2 or more"
        )
    if not 1 <= size <= image_size:
        raise ConfigError(f"data.local_size is {size}, but it lies between 1 and data.image_size, {image_size}")
