"""Operations of augmentation policies on uint8 images (H, W, 3), those of Pillow and of torchvision's v2 transforms.

Geometric ones leave black behind; nearest neighbor, pixels have their centers at halves.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

Image = np.ndarray
LEVELS = np.arange(256)
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


def affine(image: Image, inverse: tuple[float, float, float, float, float, float]) -> Image:
    """Pixel (x, y) takes the value of (a x + b y + c, d x + e y + f); `inverse` is a to f."""
    a, b, c, d, e, f = inverse
    matrix = np.array([[a, b, c + (a + b - 1) / 2], [d, e, f + (d + e - 1) / 2]])
    height, width = image.shape[:2]
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)


def shear_x(image: Image, slope: float) -> Image:
    """Shear to the left, more towards the bottom: `slope` pixels per row."""
    return affine(image, (1, slope, 0, 0, 1, 0))


def shear_y(image: Image, slope: float) -> Image:
    """Shear upwards, more towards the right: `slope` pixels per column."""
    return affine(image, (1, 0, 0, slope, 1, 0))


def translate_x(image: Image, share: float) -> Image:
    """Shift to the right by a share of the width, in whole pixels."""
    return affine(image, (1, 0, -int(share * image.shape[1]), 0, 1, 0))


def translate_y(image: Image, share: float) -> Image:
    """Shift down by a share of the height, in whole pixels."""
    return affine(image, (1, 0, 0, 0, 1, -int(share * image.shape[0])))


def rotate(image: Image, degrees: float) -> Image:
    """Rotate counterclockwise around the center."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = image.shape[1] / 2, image.shape[0] / 2
    return affine(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


def brightness(image: Image, change: float) -> Image:
    """Values, times 1 + `change`."""
    return _look_up(image, LEVELS * (1 + change))


def color(image: Image, change: float) -> Image:
    """Saturation, times 1 + `change`."""
    return _blend(image, cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), change)


def contrast(image: Image, change: float) -> Image:
    """Distance to the mean brightness, times 1 + `change`."""
    mean = cv2.mean(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0]
    return _look_up(image, LEVELS * (1 + change) - mean * change)


def sharpness(image: Image, change: float) -> Image:
    """Distance to the smoothed image, times 1 + `change`; the outermost pixels stay."""
    if min(image.shape[:2]) < 3:
        return image
    result = image.copy()
    result[1:-1, 1:-1] = _blend(image, cv2.filter2D(image, -1, SMOOTH), change)[1:-1, 1:-1]
    return result


def posterize(image: Image, bits: float) -> Image:
    """Keep the highest `bits` of each value, 0..8."""
    return image & np.uint8(256 - 2 ** (8 - int(bits)))


def solarize(image: Image, threshold: float) -> Image:
    """Invert values of at least `threshold`."""
    return _look_up(image, np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS))


def autocontrast(image: Image, _: float = 0) -> Image:
    """Stretch each channel to 0..255."""
    flat = image.reshape(-1, 3)
    low, high = flat.min(0).astype(float), flat.max(0).astype(float)
    low, high = np.where(low == high, 0, low), np.where(low == high, 255, high)
    return _look_up(image, (LEVELS[:, None] - low) * (255 / (high - low)))


def equalize(image: Image, _: float = 0) -> Image:
    """Flatten the histogram of each channel, as Pillow does."""
    tables = []
    for channel in range(3):
        counts = cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel().astype(np.int64)
        step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
        tables.append((np.cumsum(counts) - counts + step // 2) // step if step else LEVELS)
    return _look_up(image, np.stack(tables, -1))


def identity(image: Image, _: float = 0) -> Image:
    """Return the image as it is."""
    return image


GEOMETRIC: dict[str, Callable[[Image, float], Image]] = {
    "shear_x": shear_x,
    "shear_y": shear_y,
    "translate_x": translate_x,
    "translate_y": translate_y,
    "rotate": rotate,
}
SIGNED = {*GEOMETRIC, "brightness", "color", "contrast", "sharpness"}
"""Operations whose level may be negative."""
OPERATIONS: dict[str, Callable[[Image, float], Image]] = {
    "identity": identity,
    **GEOMETRIC,
    "brightness": brightness,
    "color": color,
    "contrast": contrast,
    "sharpness": sharpness,
    "posterize": posterize,
    "solarize": solarize,
    "autocontrast": autocontrast,
    "equalize": equalize,
}


def _look_up(image: Image, table: np.ndarray) -> Image:
    """Values through a table (256,), or one per channel (256, 3), cut to 0..255."""
    table = np.clip(table, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table if table.ndim == 1 else np.ascontiguousarray(table.reshape(256, 1, 3)))


def _blend(image: Image, plain: Image, change: float) -> Image:
    return cv2.addWeighted(image, 1 + change, plain, -change, 0)
