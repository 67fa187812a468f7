"""Image files from pixels."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(pixels: np.ndarray, path: Path, colors: list[int] | None = None) -> Path:
    """Write an image file; `colors`, a palette (R, G, B, R, G, B, ...), makes it a palette image. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if colors:
        image = Image.fromarray(pixels, "P")
        image.putpalette(colors)
    image.save(path)
    return path
