"""Classification of center pixels: a network sees the patch around each pixel by itself (Ciresan et al. 2012).

The simplest sliding window, and the costliest: neighboring patches have nearly all pixels in common, and nothing that
the network computes of them is shared, as it is where the network runs over the whole image (Long et al. 2015).
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from modules.decoding.tta import Predict

AT_ONCE = 1 << 18  # pixels of the patches in one pass


def patches(image: Tensor, size: int) -> Tensor:
    """Patches around every pixel of images (B, C, H, W): a view (B, H, W, C, size, size).

    Beyond the border the last pixel is repeated. The pixel lies in row and column size // 2 of its patch.
    """
    before = size // 2
    image = pad(image, (before, size - 1 - before) * 2, mode="replicate")
    return image.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5)


def at_every_pixel(model: Predict, image: Tensor, size: int) -> Tensor:
    """Logits (B, K, H, W) of images (B, C, H, W), those of each pixel from the patch around it.

    Args:
        model: patches (N, C, size, size) to logits (N, K, size, size), of which the center counts.
        image: normalized.
        size: side of the patches in pixels.
    """
    seen = patches(image, size)
    count, height, width = seen.shape[:3]
    places = torch.arange(count * height * width, device=image.device).split(max(1, AT_ONCE // size**2))
    parts = [
        model(seen[at // (height * width), at // width % height, at % width])[..., size // 2, size // 2]
        for at in places
    ]
    return torch.cat(parts).unflatten(0, (count, height, width)).permute(0, 3, 1, 2)


def at_random_pixels(model: Predict, image: Tensor, mask: Tensor, size: int, number: int) -> tuple[Tensor, Tensor]:
    """Logits (B, K, number, 1) of random pixels of each image, and their classes int64 (B, number, 1).

    Args:
        model, image, size: as in `at_every_pixel`.
        mask: classes (B, H, W).
        number: pixels of each image, drawn with replacement.
    """
    count, height, width = mask.shape
    draw = (count, number)
    rows, columns = (torch.randint(side, draw).to(image.device) for side in (height, width))
    which = torch.arange(count, device=image.device)[:, None]
    logits = model(patches(image, size)[which, rows, columns].flatten(0, 1))[..., size // 2, size // 2]
    return logits.unflatten(0, draw).transpose(1, 2)[..., None], mask[which, rows, columns][..., None]
