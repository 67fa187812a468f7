"""Image files from pixels."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(pixels: np.ndarray, path: Path, colours: list[int] | None = None) -> Path:
    """Write an image file; `colours`, a palette (R, G, B, R, G, B, ...), makes it a palette image. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if colours:
        picture = Image.fromarray(pixels, "P")
        picture.putpalette(colours)
    picture.save(path)
    return path
