"""Place of the network's input in the original image."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Place(NamedTuple):
    """Place of a network's input in an original image.

    Args:
        size: height and width of the original.
        inside: height and width of the part of the input, from the top left corner, that shows the image.
        crop: that part is the largest centered square of the image, else all of it.
    """

    size: tuple[int, int]
    inside: tuple[int, int]
    crop: bool = False

    @property
    def window(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of what the network sees, in pixels of the original."""
        height, width = self.size
        side = min(height, width)
        return ((height - side) // 2, (width - side) // 2, side, side) if self.crop else (0, 0, height, width)

    def whole(self, heat: Tensor) -> np.ndarray:
        """A map (h, w) over the input as float32 (H, W) over the original; NaN where the network saw nothing."""
        top, left, height, width = self.window
        inner = heat[: self.inside[0], : self.inside[1]].float()
        found = torch.full(self.size, torch.nan)
        found[top : top + height, left : left + width] = interpolate(
            inner[None, None], (height, width), mode="bilinear"
        )
        return found.numpy()

    def box(self, box: Tensor) -> list[int]:
        """A box xyxy of the input in pixels of the original."""
        top, left, height, width = self.window
        scale = height / self.inside[0], width / self.inside[1]
        x1, y1, x2, y2 = box.tolist()
        edges = left + x1 * scale[1], top + y1 * scale[0], left + x2 * scale[1], top + y2 * scale[0]
        return [round(edge) for edge in edges]
