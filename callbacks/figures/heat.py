"""Heat maps over images."""

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate


def heat_overlay(image: np.ndarray, heat: Tensor) -> np.ndarray:
    """Heat map over a darkened image.

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w), stretched to the image and to its own range.
    """
    from matplotlib import colormaps

    large = interpolate(heat[None, None].float().cpu(), image.shape[:2], mode="bilinear")[0, 0].numpy()
    share = (large - large.min()) / max(large.max() - large.min(), 1e-12)
    gray = image.mean(axis=2, keepdims=True)
    mixed = 0.45 * gray + 0.55 * 255 * np.asarray(colormaps["inferno"](share))[..., :3]
    return mixed.round().clip(0, 255).astype(np.uint8)
