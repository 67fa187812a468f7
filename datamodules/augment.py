"""How pictures are augmented: named recipes, or any list of albumentations transforms in the YAML."""

import random
from copy import deepcopy
from typing import Literal

import albumentations as A
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError

from modules.contracts import ConfigError

Recipe = Literal["none", "flip", "simclr", "strong"]
RECIPES = {
    "none": lambda size: [],
    "flip": lambda size: [A.HorizontalFlip(p=0.5)],
    # Chen et al. 2020, appendix A, with jitter strength 0.5
    "simclr": lambda size: [*_jitter(hue=0.1, grey=0.2), *_blur(size)],
    "strong": lambda size: [*_jitter(hue=0.5, grey=0.3), *_blur(size)],
}


def _jitter(hue: float, grey: float) -> list[A.BasicTransform]:
    colours = A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=hue, p=0.8)
    return [A.HorizontalFlip(p=0.5), colours, A.ToGray(p=grey)]


def _blur(size: int) -> list[A.BasicTransform]:
    """The kernel follows from sigma; small pictures have no detail to spare."""
    return [A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 2.0), p=0.5)] if size > 64 else []


class Augment:
    """Random crop, then a recipe; every draw is a function of the key alone.

    Args:
        size: side of the square result in pixels.
        crop: range of the crop's area as a fraction of the picture; null shrinks the whole picture instead.
        recipe: a name from RECIPES or albumentations transforms.

    Raises:
        ConfigError: the transforms do not work on pictures of this size, or end in another.
    """

    def __init__(self, size: int, crop: tuple[float, float] | None, recipe: Recipe | list[A.BasicTransform]):
        first = [A.RandomResizedCrop((size, size), scale=crop)] if crop else whole(size)
        self.size = size
        # a copy, because each transform holds one random state
        then = RECIPES[recipe](size) if isinstance(recipe, str) else deepcopy(recipe)
        self.transforms = A.Compose([*first, *then])
        self.numpy, self.python = np.random.Generator(np.random.Philox(0)), random.Random(0)
        self.state = self.numpy.bit_generator.state
        self.transforms.set_random_state(self.numpy, self.python)
        try:  # what cannot work is refused here, not in a worker
            self(np.zeros((size, size, 3), np.uint8))
        except (ValueError, CropSizeError) as error:
            raise ConfigError(f"data.augment does not work on pictures of {size} pixels: {error}") from error

    def __call__(self, image: np.ndarray, *key: int) -> np.ndarray:
        """uint8 (H, W, 3) to (size, size, 3); the same key, such as (seed, epoch, index, view), draws the same."""
        mixed = hash(key)  # of integers only, so the same in every process
        self.state["state"]["key"][:] = (mixed & 0xFFFFFFFFFFFFFFFF, 0)
        self.state["state"]["counter"][:] = 0
        self.state["buffer_pos"] = 4  # nothing left over from the last key
        self.state["has_uint32"] = 0
        self.numpy.bit_generator.state = self.state
        self.python.seed(mixed)
        result = self.transforms(image=image)["image"]
        if result.shape != (self.size, self.size, 3):
            raise ConfigError(
                f"data.augment makes pictures of shape {result.shape} of {self.size} x {self.size} pixels: "
                f"its transforms must keep the size"
            )
        return result


def whole(size: int) -> list[A.BasicTransform]:
    """The largest centred square of the picture, `size` pixels wide."""
    return [A.SmallestMaxSize(size), A.CenterCrop(size, size)]
