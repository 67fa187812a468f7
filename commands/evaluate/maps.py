"""Attention maps of the class token, or the first principal component of feature maps."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.contracts import Backbone

CELLS = 6  # fewest cells per side of a map worth drawing


def attention(backbone: Backbone, image: Tensor) -> Tensor | None:
    """Attention of the class token to each patch in the last block, mean over the heads (Caron et al. 2021).

    Args:
        backbone: a timm vision transformer, or any other network.
        image: normalized images (B, 3, H, W).

    Returns:
        (B, h, w), or None for networks without class token or attention.
    """
    net = getattr(backbone, "net", backbone)
    layers = [module for module in net.modules() if hasattr(module, "fused_attn") and hasattr(module, "attn_drop")]
    if getattr(net, "cls_token", None) is None or not layers:
        return None
    fused, seen = [layer.fused_attn for layer in layers], []
    # The weights exist only where attention is not fused; the dropout after the softmax sees them.
    hooks = [layer.attn_drop.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False
        # `forward`, because what torch.compile made of the backbone would not see the hooks
        height, width = backbone.forward(image)[-1].shape[-2:]
    finally:
        for layer, was, hook in zip(layers, fused, hooks, strict=True):
            layer.fused_attn = was
            hook.remove()
    if not seen or seen[-1].ndim != 4 or seen[-1].shape[-1] <= height * width:  # windows, or pooled keys
        return None
    patches = seen[-1][:, :, 0, -height * width :].float().mean(1)
    return patches.unflatten(1, (height, width))


def activation(maps: list[Tensor]) -> tuple[Tensor, int]:
    """First principal component over the cells of all images, of the coarsest level with enough cells.

    Args:
        maps: fine to coarse, (B, C, h, w).

    Returns:
        (B, h, w), its sign such that strong activations are high; and the level.
    """
    enough = [level for level, cells in enumerate(maps) if min(cells.shape[-2:]) >= CELLS]
    level = enough[-1] if enough else 0
    cells = maps[level].float().permute(0, 2, 3, 1)
    flat = cells.flatten(0, 2)
    flat = flat - flat.mean(0)
    direction = torch.linalg.svd(flat.T @ flat)[0][:, 0]
    values, strength = flat @ direction, cells.flatten(0, 2).norm(dim=1)
    sign = 1 if (values * (strength - strength.mean())).sum() >= 0 else -1
    return (sign * values).view(cells.shape[:3]), level


def overlay(image: np.ndarray, heat: Tensor) -> np.ndarray:
    """Heat map over a darkened image.

    Args:
        image: uint8 (H, W, 3).
        heat: (h, w), stretched to the image and to its own range.
    """
    from matplotlib import colormaps

    heat = interpolate(heat[None, None].float().cpu(), image.shape[:2], mode="bilinear")[0, 0].numpy()
    share = (heat - heat.min()) / max(heat.max() - heat.min(), 1e-12)
    gray = image.mean(axis=2, keepdims=True)
    mixed = 0.45 * gray + 0.55 * 255 * colormaps["inferno"](share)[..., :3]
    return mixed.round().clip(0, 255).astype(np.uint8)
