"""Letterbox resize: fit into (H, W) keeping the aspect ratio, pad right and bottom; for dense prediction."""

from typing import Any

import cv2
import numpy as np

from modules.contracts import IGNORE, ConfigError

TargetSize = tuple[int, int] | None
"""Height and width; null for each image's own."""


class Letterbox:
    """Letterbox resize: the whole image at the top left of `target_size`, aspect ratio kept, padded right and bottom.

    Args:
        target_size: height and width of the result; null keeps the image as it is.
    """

    def __init__(self, target_size: TargetSize):
        self.target_size = target_size

    def __call__(self, image: np.ndarray, mask: np.ndarray | None = None, *key: int) -> dict[str, Any]:
        """Letterbox an image and its mask.

        Returns `image` uint8 (H, W, 3), `mask` (H, W) if there is one, and `original_mask`, the same before resizing;
        `size` of the image as it was, and `inside`, the part that shows it, both (height, width); `key` is for
        pipelines that draw.
        """
        size, original = image.shape[:2], mask
        inside = size
        if self.target_size:
            inside = fitted(size, self.target_size)
            image = pad(resize(image, inside), self.target_size, 0)
            mask = None if mask is None else pad(resize_mask(mask, inside), self.target_size, IGNORE)
        sample = {"image": image, "size": size, "inside": inside}
        return sample if mask is None else sample | {"mask": mask, "original_mask": original}


def as_target_size(image_size: int | tuple[int, int] | None) -> TargetSize:
    """Height and width from the setting `image_size`: one number is a square.

    Raises:
        ConfigError: not at least 1.
    """
    if image_size is None:
        return None
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < 1:
        raise ConfigError(f"data.image_size is {height} x {width} pixels, but must be at least 1 x 1")
    return height, width


def check_scale(scale: tuple[float, float]) -> None:
    """Check the range of a random scale.

    Raises:
        ConfigError: it is none, or not above 0.
    """
    if not 0 < scale[0] <= scale[1]:
        raise ConfigError(f"data.scale is {list(scale)}, but it is a range of factors like [0.5, 2.0]")


def sizes_in_words(shapes: np.ndarray) -> str:
    """Smallest and largest width x height of (N, 2) heights and widths; one of them if all are the same."""
    (top, left), (bottom, right) = shapes.min(0), shapes.max(0)
    return f"{left} x {top}" + ("" if (top, left) == (bottom, right) else f" to {right} x {bottom}")


def fitted(size: tuple[int, int], target_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an image of `size` scaled to fit into `target_size`, aspect ratio kept."""
    scale = fit_scale(size, target_size)
    height, width = (max(1, min(most, round(side * scale))) for side, most in zip(size, target_size, strict=True))
    return height, width


def fit_scale(size: tuple[int, int], target_size: tuple[int, int]) -> float:
    """Scale factor that fits an image of `size` into `target_size`."""
    return min(target_size[0] / size[0], target_size[1] / size[1])


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8 (H, W, 3) to (*size, 3): area averaging to shrink, bilinear to enlarge."""
    if image.shape[:2] == size:
        return image
    smaller = size[0] < image.shape[0] or size[1] < image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map uint8 (H, W) to `size` by nearest neighbor, pixel centers aligned with `resize`."""
    if mask.shape == size:
        return mask
    # INTER_NEAREST measures from pixel corners, which shifts the map against the image
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def pad(array: np.ndarray, size: tuple[int, int], value: int) -> np.ndarray:
    """Pad (H, W, ...) to (*size, ...) with `value` at the right and bottom."""
    if array.shape[:2] == size:
        return array
    padded = np.full((*size, *array.shape[2:]), value, array.dtype)
    padded[: array.shape[0], : array.shape[1]] = array
    return padded
