"""Image augmentation: named recipes, or any list of albumentations transforms in the YAML; deterministic by key."""

import random
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import albumentations as A
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError

from datamodules.policies import AugMix, RandAugment, TrivialAugment
from datamodules.policies.policies import Policy
from modules.contracts import ConfigError

PROBE_SIZE = 224  # side of the squares that probes see where images keep their own sizes
Recipe = Literal["none", "flip", "simclr", "strong", "moco_v1", "randaugment", "trivialaugment", "augmix"]


@dataclass(frozen=True)
class Chances:
    """Operations of a named recipe after the crop, in this order, with their probabilities in [0, 1].

    Args:
        flip: probability of mirroring.
        jitter: probability of brightness, contrast, saturation and hue in random order.
        strength: their factors lie in 1 - strength..1 + strength.
        hue: the hue turns by at most this share of the circle.
        gray: probability of losing color.
        blur: probability of a Gaussian blur, above 64 pixels: small images have no detail to spare.
        sigma: range of its width in pixels.
        policy: last of all, with its published settings; null for none.
    """

    flip: float = 0.5
    jitter: float = 0.0
    strength: float = 0.4
    hue: float = 0.1
    gray: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    policy: type[Policy] | None = None

    def blur_at(self, size: int) -> float:
        """Probability of a blur of views of `size` pixels."""
        return self.blur if size > 64 else 0.0

    def transforms(self, size: int, geometric: bool = True) -> list[A.BasicTransform]:
        """The operations as albumentations transforms, for images of `size` pixels.

        Args:
            size: in pixels.
            geometric: with a policy's shear, shift and rotation; false where boxes or masks lie over the image.
        """
        s = self.strength
        jitter = A.ColorJitter(brightness=s, contrast=s, saturation=s, hue=self.hue, p=self.jitter)
        # the kernel follows from sigma
        blur = A.GaussianBlur(blur_limit=0, sigma_limit=self.sigma, p=self.blur_at(size))
        usual = [t for t in (A.HorizontalFlip(p=self.flip), jitter, A.ToGray(p=self.gray), blur) if t.p]
        return [*usual, *([self.policy(geometric=geometric)] if self.policy else [])]


RECIPES: dict[Recipe, Chances] = {
    "none": Chances(flip=0.0),
    "flip": Chances(),
    # Chen et al. 2020, appendix A, with jitter strength 0.5
    "simclr": Chances(jitter=0.8, gray=0.2, blur=0.5),
    "strong": Chances(jitter=0.8, hue=0.5, gray=0.3, blur=0.5),
    # He et al. 2020, section 3.3: crop, jitter, mirroring and gray, without blur
    "moco_v1": Chances(jitter=1.0, hue=0.4, gray=0.2),
    "randaugment": Chances(policy=RandAugment),
    "trivialaugment": Chances(policy=TrivialAugment),
    "augmix": Chances(policy=AugMix),
}

Erasing = Literal["none", "constant", "color", "pixel"]
ERASING: dict[Erasing, Any] = {"constant": (124, 116, 104), "color": "random_uniform", "pixel": "random"}
"""Random erasing (Zhong et al. 2020): a box of 2 to 33 % of the area in ImageNet's mean, one color, or noise."""


class Keyed:
    """Deterministic albumentations: every random draw is a function of a key alone.

    Args:
        transforms: applied in order; not shared, because each holds one random state.
        boxes: format of the boxes that are transformed along; null for none.
    """

    def __init__(self, transforms: list[A.BasicTransform], boxes: A.BboxParams | None = None):
        self.transforms = A.Compose(transforms, bbox_params=boxes)
        self.numpy, self.python = np.random.Generator(np.random.Philox(0)), random.Random(0)
        self.state = self.numpy.bit_generator.state
        self.transforms.set_random_state(self.numpy, self.python)

    def seed(self, *key: int) -> np.random.Generator:
        """The generator that the transforms draw from next, set to the state of `key`."""
        mixed = hash(key)  # integers only, so the same in every process
        self.state["state"]["key"][:] = (mixed & 0xFFFFFFFFFFFFFFFF, 0)
        self.state["state"]["counter"][:] = 0
        self.state["buffer_pos"] = 4  # nothing left over from the last key
        self.state["has_uint32"] = 0
        self.numpy.bit_generator.state = self.state
        self.python.seed(mixed)
        return self.numpy


class Augment(Keyed):
    """Random resized crop, then a recipe; every draw is a function of the key alone.

    Args:
        size: side of the square result in pixels.
        crop: range of the crop's area as a fraction of the image; null takes the center crop instead.
        recipe: a name from RECIPES or albumentations transforms.
        scale_jitter: range of the shorter side in pixels that images are resized to before a random square of `size` is
            cut from them, in place of `crop` (Simonyan and Zisserman 2015); null for none.
        erasing: see `ERASING`; probability 0..1 and name, or null for none.

    Raises:
        ConfigError: the transforms do not work on images of this size, or end in another.
    """

    def __init__(
        self,
        size: int,
        crop: tuple[float, float] | None,
        recipe: Recipe | list[A.BasicTransform],
        scale_jitter: tuple[int, int] | None = None,
        erasing: tuple[float, Erasing] | None = None,
    ):
        first = [A.RandomResizedCrop((size, size), scale=crop)] if crop else center_crop(size)
        if scale_jitter:
            sides = range(scale_jitter[0], scale_jitter[1] + 1)
            first = [A.SmallestMaxSize(sides), A.RandomCrop(size, size)]
        last = [A.Erasing(p=erasing[0], fill=ERASING[erasing[1]])] if erasing else []
        super().__init__([*first, *recipe_transforms(recipe, size), *last])
        self.size = size
        try:  # fails here, not in a worker
            self(np.zeros((size, size, 3), np.uint8))
        except (ValueError, CropSizeError) as error:
            raise ConfigError(f"data.augment does not work on images of {size} pixels: {error}") from error

    def __call__(self, image: np.ndarray, *key: int) -> np.ndarray:
        """Augment uint8 (H, W, 3) to (size, size, 3); the same key, such as (seed, epoch, index, view), draws the same.

        The images of a clip (T, H, W, 3) share their random parameters.
        """
        self.seed(*key)
        target = "image" if image.ndim == 3 else "images"
        result = self.transforms(**{target: image})[target]
        check_result(result if image.ndim == 3 else result[0], (self.size, self.size))
        return result


def recipe_transforms(
    recipe: Recipe | list[A.BasicTransform], size: int, geometric: bool = True
) -> list[A.BasicTransform]:
    """Transforms of a recipe, see `Chances.transforms`, or a copy of a list of them, for images of `size` pixels."""
    return RECIPES[recipe].transforms(size, geometric) if isinstance(recipe, str) else deepcopy(recipe)


def check_result(image: np.ndarray, size: tuple[int, int]) -> None:
    """Raise ConfigError if transforms made anything but uint8 (*size, 3)."""
    if image.dtype != np.uint8:
        raise ConfigError(f"data.augment makes images of {image.dtype} of uint8: leave scaling to the task")
    if image.shape != (*size, 3):
        raise ConfigError(
            f"data.augment makes images of shape {image.shape} of {size[0]} x {size[1]} pixels: "
            f"its transforms must keep the size"
        )


def check_area(name: str, area: tuple[float, float] | None) -> None:
    """Raise ConfigError if setting `name` is no range of a crop's area as a fraction of the image."""
    if area and not 0 < area[0] <= area[1] <= 1:
        raise ConfigError(f"data.{name} is {list(area)}, but it is a range of area fractions like [0.2, 1.0]")


def center_square(target_size: tuple[int, int] | None) -> Augment:
    """Center crop as wide as the shorter side of a size (H, W) in pixels, or `PROBE_SIZE` if it is null."""
    return Augment(min(target_size) if target_size else PROBE_SIZE, None, "none")


def center_crop(size: int) -> list[A.BasicTransform]:
    """Center crop: the largest centered square of the image, resized to `size` pixels."""
    return [A.SmallestMaxSize(size), A.CenterCrop(size, size)]
