"""RandAugment, TrivialAugment and AugMix on uint8 images, with the spaces of their publications.

Crop and flip come before them. Draws are those of the transform's own random state, which `datamodules.augment.Keyed`
sets by key; the images of a clip share them.
"""

from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np

from datamodules.policies.operations import GEOMETRIC, OPERATIONS, SIGNED
from modules.contracts import ConfigError, check_range, check_sizes

Chain = list[tuple[str, float]]
"""Operations with their values, in order."""
BINS = 31
TRANSLATE = 150 / 331  # of the side
UNPUBLISHED_IN_AUGMIX = {"identity", "brightness", "color", "contrast", "sharpness"}


def randaugment_value(name: str, level: float) -> float:
    """Value of an operation of RandAugment at a level 0..1 (Cubuk et al. 2020)."""
    if name == "posterize":
        return 8 - round(4 * level)
    if name == "solarize":
        return 255 * (1 - level)
    highest = {"rotate": 30, "translate_x": TRANSLATE, "translate_y": TRANSLATE, "shear_x": 0.3, "shear_y": 0.3}
    return highest.get(name, 0.9) * level


def trivial_value(name: str, level: float, side: int) -> float:
    """Value of an operation of TrivialAugment's wide space at a level 0..1 (Müller and Hutter 2021).

    Args:
        side: of the image in pixels: it is shifted by up to 32 of them.
    """
    if name == "posterize":
        return 8 - round(6 * level)
    if name == "solarize":
        return 255 * (1 - level)
    wide = {"rotate": 135, "translate_x": 32 / side, "translate_y": 32 / side}
    return wide.get(name, 0.99) * level


def augmix_value(name: str, level: float) -> float:
    """Value of an operation of AugMix at a level 0..1 (Hendrycks et al. 2020)."""
    values = {"posterize": 4 - int(4 * level), "solarize": 256 * (1 - level), "rotate": 30 * level}
    return values.get(name, level / 3 if name.startswith("translate") else 0.3 * level)


class Policy(A.ImageOnlyTransform):
    """Base of the policies.

    Args:
        geometric: with shear, shift and rotation; false where boxes or masks lie over the image.
        p: probability of any of it.
    """

    excluded: set[str] = set()

    def __init__(self, geometric: bool = True, p: float = 1.0):
        super().__init__(p=p)
        self.names = [name for name in OPERATIONS if name not in self.excluded and (geometric or name not in GEOMETRIC)]

    def draw(self, count: int, value: Callable[[str], float]) -> Chain:
        """`count` operations with values of random sign where they have one."""
        chain = []
        for name in self.py_random.choices(self.names, k=count):
            sign = -1 if name in SIGNED and self.py_random.random() < 0.5 else 1
            chain.append((name, sign * value(name)))
        return chain

    def apply(self, img: np.ndarray, chain: Chain, **params: Any) -> np.ndarray:
        """Apply the operations of `chain` to uint8 (H, W, 3)."""
        for name, value in chain:
            img = OPERATIONS[name](img, value)
        return img


class RandAugment(Policy):
    """RandAugment (Cubuk et al. 2020): `num_ops` of 14 operations in a row, all of one magnitude.

    Args:
        num_ops: number of operations.
        magnitude: 0..30.
        geometric: see `Policy`.
        p: probability of any of it.
    """

    def __init__(self, num_ops: int = 2, magnitude: float = 9, geometric: bool = True, p: float = 1.0):
        super().__init__(geometric, p)
        check_sizes("data.augment.RandAugment", num_ops=num_ops)
        check_range("data.augment.RandAugment.magnitude", magnitude, high=BINS - 1)
        self.num_ops, self.magnitude = num_ops, magnitude

    def get_params(self) -> dict[str, Any]:
        return {"chain": self.draw(self.num_ops, lambda name: randaugment_value(name, self.magnitude / (BINS - 1)))}


class TrivialAugment(Policy):
    """TrivialAugment, wide (Müller and Hutter 2021): one of 14 operations, of any magnitude."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        image = data["image"] if "image" in data else data["images"][0]
        level, side = self.py_random.randrange(BINS) / (BINS - 1), min(image.shape[:2])
        return {"chain": self.draw(1, lambda name: trivial_value(name, level, side))}


class AugMix(Policy):
    """AugMix (Hendrycks et al. 2020): a mixture of chains of 1 to 3 operations, mixed with the image itself.

    Its operations are those that no corruption of ImageNet-C has.

    Args:
        severity: highest level of the operations, 1..10.
        width: number of chains.
        alpha: of the Dirichlet and Beta distributions of the weights.
        geometric: see `Policy`.
        p: probability of any of it.
    """

    excluded = UNPUBLISHED_IN_AUGMIX

    def __init__(self, severity: float = 3, width: int = 3, alpha: float = 1.0, geometric: bool = True, p: float = 1.0):
        super().__init__(geometric, p)
        check_range("data.augment.AugMix.severity", severity, 0.1, 10)
        check_sizes("data.augment.AugMix", width=width)
        if not alpha > 0:
            raise ConfigError(f"data.augment.AugMix.alpha is {alpha}, but must be above 0")
        self.severity, self.width, self.alpha = severity, width, alpha

    def get_params(self) -> dict[str, Any]:
        random = self.py_random
        chains = [
            self.draw(random.randint(1, 3), lambda name: augmix_value(name, random.uniform(0.1, self.severity) / 10))
            for _ in range(self.width)
        ]
        gamma = [random.gammavariate(self.alpha, 1) for _ in range(self.width)]
        weights = [one / sum(gamma) for one in gamma]
        return {"chain": [], "chains": chains, "weights": weights, "share": random.betavariate(self.alpha, self.alpha)}

    def apply(self, img: np.ndarray, chain: Chain, **params: Any) -> np.ndarray:
        """1 - `share` of uint8 (H, W, 3) and `share` of the chains by their weights, all of them in `params`."""
        share = params["share"]
        mixed = (1 - share) * img.astype(np.float32)
        for one, weight in zip(params["chains"], params["weights"], strict=True):
            mixed += np.float32(share * weight) * super().apply(img, one)
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
