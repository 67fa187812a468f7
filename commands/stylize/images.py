"""Images of the commands that paint: files to tensors of a given size, and back."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from datamodules.decoding import read_image
from modules.contracts import ConfigError, DataError
from modules.contracts.pixels import to_uint8


def read(path: str, side: int, option: str) -> Tensor:
    """An image file, its longer side brought to `side` pixels, 0 for its own: float (1, 3, H, W) in 0..1.

    Raises:
        DataError: it cannot be read; names the option.
    """
    try:
        pixels = read_image(Path(path).expanduser())
    except DataError as error:
        said = str(error).replace("remove it, or set --data.on_error skip", "name another file")
        raise DataError(f"{option}: {said}") from error
    longest = max(pixels.shape[:2])
    if side and side != longest:
        shape = [max(1, round(length * side / longest)) for length in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, shape, interpolation=cv2.INTER_AREA if side < longest else cv2.INTER_CUBIC)
    return tensor(pixels)


def tensor(pixels: np.ndarray) -> Tensor:
    """Pixels uint8 (H, W, 3) as float (1, 3, H, W) in 0..1."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float().contiguous() / 255


def array(image: Tensor) -> np.ndarray:
    """Image (1, 3, H, W) in 0..1 as uint8 (H, W, 3)."""
    return to_uint8(image[0]).permute(1, 2, 0).cpu().numpy()


def check_size(image: Tensor, smallest: int, option: str) -> None:
    """Check that an image is not smaller than the network takes.

    Raises:
        ConfigError: it is; names the option.
    """
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise ConfigError(
            f"{option}: the image has {width} x {height} pixels, but the network takes {smallest} or more: raise --size"
        )
