"""Built-in style images, drawn by a seeded generator: the same on every machine, without a file."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps
from scipy.spatial import KDTree

from modules.contracts import DataError, regular, suggest

DUSK = ((18, 32, 92), (38, 76, 160), (92, 148, 206), (198, 214, 190), (244, 206, 84), (232, 160, 50))
GLASS = ((196, 40, 46), (240, 168, 36), (36, 110, 176), (34, 146, 98), (120, 54, 138), (244, 228, 176))
LEAD = (24, 20, 26)


def strokes(side: int) -> np.ndarray:
    """Brush strokes that follow a swirling flow, blue to yellow, uint8 (side, side, 3)."""
    random = np.random.default_rng(0)
    image = np.full((side, side, 3), DUSK[1], np.uint8)
    count, length = 9000, side / 14
    centers, spins = random.random((5, 2)), random.choice([-1, 1], 5)
    for x, y, shade in random.random((count, 3)):
        offset = np.array([x, y]) - centers
        near = np.exp(-(offset**2).sum(1) / 0.02)
        flow = (spins * near) @ offset[:, ::-1] * [-12, 12] + [1, 0.3 * np.sin(7 * x)]
        step = length * flow / np.linalg.norm(flow) / side
        tone = 0.55 * near.max() + 0.3 * np.sin(9 * y + 3 * x) ** 2 + 0.35 * shade
        color = np.array(DUSK[min(int(tone * len(DUSK)), len(DUSK) - 1)]) + random.integers(-18, 19)
        start, end = (((np.array([x, y]) + sign * step / 2) * side).astype(int).tolist() for sign in (-1, 1))
        cv2.line(image, start, end, np.clip(color, 0, 255).tolist(), max(1, side // 100), cv2.LINE_AA)
    return image


def mosaic(side: int) -> np.ndarray:
    """Panes of colored glass between dark leads, uint8 (side, side, 3)."""
    random = np.random.default_rng(1)
    seeds = random.random((160, 2)) * side
    rows, columns = np.mgrid[:side, :side] + 0.5
    distance, nearest = KDTree(seeds).query(np.stack([rows, columns], -1), 2)
    colors = np.array(GLASS)[random.integers(0, len(GLASS), len(seeds))] + random.integers(-20, 21, (len(seeds), 1))
    image = colors[nearest[..., 0]].astype(float)
    image[distance[..., 1] - distance[..., 0] < side / 70] = LEAD
    return np.clip(image, 0, 255).astype(np.uint8)


BUILT_IN: dict[str, Callable[[int], np.ndarray]] = {"strokes": strokes, "mosaic": mosaic}
"""Name -> drawing of that side in pixels."""
DRAWN = 512  # side of a drawing before it is brought to the size of a style


def read_style(style: str, side: int) -> np.ndarray:
    """A built-in style by its name, or an image file, its shorter side brought to `side`: uint8 (H, W, 3).

    Raises:
        DataError: no such name and no readable image.
    """
    pixels = BUILT_IN[style](DRAWN) if style in BUILT_IN else _read(style)
    shorter = min(pixels.shape[:2])
    shape = [max(1, round(length * side / shorter)) for length in pixels.shape[1::-1]]
    return cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if side < shorter else cv2.INTER_CUBIC)


def _read(path: str) -> np.ndarray:
    try:
        with Image.open(regular(Path(path).expanduser())) as file:
            return np.array(ImageOps.exif_transpose(file).convert("RGB"))
    except Image.UnidentifiedImageError as error:
        raise DataError(f"model.styles: {path} is no image that can be read: name another file") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's for damaged files
        said = getattr(error, "strerror", None) or "it is damaged"
        hint = suggest(path, list(BUILT_IN)) or f"; built in are {', '.join(BUILT_IN)}"
        raise DataError(f"model.styles: cannot read {path}: {said}{hint}") from error
