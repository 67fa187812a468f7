"""Evaluation transforms of the data modules as part of a graph: raw uint8 RGB to the pixels that the network sees."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from modules.contracts.preprocessing import Preprocessing
from modules.export.resize import area, linear, side


class Geometry(NamedTuple):
    """Sizes of the images of a batch, by which answers return to original pixels.

    Args:
        size: height and width of the original, numbers that are dynamic in traced graphs.
        inside: float64 (2,), height and width of the part of the network's input, from the top left corner, that shows
            the image.
    """

    size: tuple[int, int]
    inside: Tensor


class Preprocess(nn.Module):
    """Base of the transforms: uint8 (B, H, W, 3) to float32 (B, 3, h, w) in [0, 255], and the `Geometry`.

    Here the image as it is.

    Attributes:
        canvas: height and width (h, w) that the network sees; null for those of the image.
    """

    canvas: tuple[int, int] | None = None

    def forward(self, image: Tensor) -> tuple[Tensor, Geometry]:
        size = image.shape[1], image.shape[2]
        return image.permute(0, 3, 1, 2).float(), Geometry(size, torch.stack([side(image, 1), side(image, 2)]))


class CenterCrop(Preprocess):
    """The largest centered square of the image, resized bilinearly to `size` pixels, as `Augment` evaluates."""

    def __init__(self, size: int):
        super().__init__()
        self.size, self.canvas = size, (size, size)

    def forward(self, image: Tensor) -> tuple[Tensor, Geometry]:
        sides = torch.stack([side(image, 1), side(image, 2)])
        square = self.size
        resized = (sides * (square / sides.min())).round().clamp_min(1)
        start = ((resized - square) / 2).floor()
        rows, columns = (torch.arange(square, dtype=torch.float64) + start[axis] for axis in (0, 1))
        whole = torch.full((2,), square, dtype=torch.float64)
        return linear(image, resized, rows, columns), Geometry((image.shape[1], image.shape[2]), whole)


class Letterbox(Preprocess):
    """The whole image at the top left of (h, w), aspect ratio kept: area averaging to shrink, bilinear to enlarge."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = self.canvas = size

    def forward(self, image: Tensor) -> tuple[Tensor, Geometry]:
        sides = torch.stack([side(image, 1), side(image, 2)])
        canvas = torch.tensor(self.size, dtype=torch.float64)
        scale = (canvas / sides).min()
        inside = torch.minimum((sides * scale).round(), canvas).clamp_min(1)
        rows, columns = (torch.arange(length, dtype=torch.float64) for length in self.size)
        resized = torch.where(
            (inside < sides).any(), area(image, inside, rows, columns), linear(image, inside, rows, columns)
        )
        shown = (rows < inside[0])[:, None] & (columns < inside[1])
        return torch.where(shown, resized, 0.0), Geometry((image.shape[1], image.shape[2]), inside)


def preprocess_for(preprocessing: Preprocessing) -> Preprocess:
    """The transform that a data module describes."""
    kind, size = preprocessing
    if size is None:
        return Preprocess()
    return CenterCrop(min(size)) if kind == "center_crop" else Letterbox(size)
