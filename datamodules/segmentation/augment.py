"""Augmentation of images with their semantic maps: random scale and crop, class-balanced crops, recipes."""

from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError
from albumentations.core.composition import BaseCompose

from datamodules.augment import Keyed, Recipe, check_result, recipe_transforms
from datamodules.letterbox import fit_scale, pad, resize, resize_mask
from modules.contracts import IGNORE, ConfigError


class MaskAugment(Keyed):
    """Random scale and crop of image and map, then a recipe; every draw is a function of the key alone.

    Args:
        size: height and width of the result; an image smaller than the crop is padded at the right and bottom.
        scale: range of the scale, 1 being the whole image fitted into `size`.
        balanced: class-balanced sampling: probability 0..1 that the crop is centered on a pixel of a class drawn
            uniformly among those in the image.
        recipe: a name from RECIPES or albumentations transforms; pixels from outside the image become void.

    Raises:
        ConfigError: the transforms do not work on images of this size, end in another, or mix the map's values.
    """

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float],
        balanced: float,
        recipe: Recipe | list[A.BasicTransform],
    ):
        transforms = recipe_transforms(recipe, min(size), geometric=False)
        for transform in leaves(transforms):
            _prepare(transform)
        super().__init__(transforms)
        self.size, self.scale, self.balanced = size, scale, balanced
        try:  # fails here, not in a worker
            self(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))
        except (ValueError, CropSizeError) as error:
            where = f"{size[0]} x {size[1]} pixels"
            raise ConfigError(f"data.augment does not work on images and masks of {where}: {error}") from error

    def __call__(self, image: np.ndarray, mask: np.ndarray, *key: int) -> dict[str, Any]:
        """Augment uint8 (H, W, 3) and (H, W) to `image` (*size, 3) and `mask` (*size), 255 where padded."""
        scale, chosen, *place = self.seed(*key).random(4)
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * scale
        scale *= fit_scale(mask.shape, self.size)
        center = pixel_of_a_class(mask, *place) if chosen < self.balanced else None
        rows, columns = (
            span(mask.shape[axis], self.size[axis], scale, place[axis], None if center is None else center[axis])
            for axis in (0, 1)
        )
        inside = rows[2], columns[2]
        part = slice(*rows[:2]), slice(*columns[:2])
        image, mask = resize(image[part], inside), resize_mask(mask[part], inside)
        image, mask = pad(image, self.size, 0), pad(mask, self.size, IGNORE)
        if not self.transforms.transforms:
            return {"image": image, "mask": mask}
        result = self.transforms(image=image, mask=mask)
        check_result(result["image"], self.size)
        return {"image": result["image"], "mask": result["mask"]}


def span(length: int, target: int, scale: float, draw: float, center: int | None) -> tuple[int, int, int]:
    """Along one axis, a crop of an image: its first pixel, the one after the last, and its length after scaling.

    Args:
        length: of the image in pixels.
        target: of the crop, in pixels of the scaled image.
        scale: of the image.
        draw: uniform in [0, 1), the place of the crop.
        center: the pixel to center it on instead, as far as the image reaches; null for none.
    """
    wanted = max(1, round(target / scale))
    if wanted >= length:
        return 0, length, max(1, min(target, round(length * scale)))
    free = length - wanted
    start = int(draw * (free + 1)) if center is None else min(max(0, center - wanted // 2), free)
    return start, start + wanted, target


def pixel_of_a_class(mask: np.ndarray, which: float, where: float) -> tuple[int, int] | None:
    """Class-balanced sampling of a pixel: row and column of a random pixel of a random class; null if all is void.

    Args:
        mask: uint8 (H, W).
        which: uniform in [0, 1), chooses the class.
        where: uniform in [0, 1), chooses one of its pixels.
    """
    present = np.flatnonzero(cv2.calcHist([mask], [0], None, [256], [0, 256])[:IGNORE])
    if not len(present):
        return None
    places = np.flatnonzero(mask == present[int(which * len(present))])
    row, column = divmod(int(places[int(where * len(places))]), mask.shape[1])
    return row, column


def leaves(transforms: list[A.BasicTransform]) -> list[A.BasicTransform]:
    """Flatten compositions such as OneOf to their transforms."""
    parts = [leaves(t.transforms) if isinstance(t, BaseCompose) else [t] for t in transforms]
    return [leaf for part in parts for leaf in part]


def check_nearest(transform: A.BasicTransform) -> None:
    """Raise ConfigError if a transform would interpolate the values in masks."""
    name, mixing = type(transform).__name__, getattr(transform, "mask_interpolation", cv2.INTER_NEAREST)
    if mixing not in (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT):
        raise ConfigError(
            f"data.augment: {name} has mask_interpolation {mixing}, which mixes class indices: "
            f"leave it at {cv2.INTER_NEAREST}, the nearest pixel"
        )


def _prepare(transform: A.BasicTransform) -> None:
    """Fill pixels from outside the image with void instead of albumentations' class 0."""
    check_nearest(transform)
    if getattr(transform, "fill_mask", None) == 0:
        transform.fill_mask = IGNORE
