"""Attention of vision transformers: the class token's in the last block, and rolled out over all blocks."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modules.contracts import Backbone


def attention_weights(network: nn.Module, run: Callable[[], Any]) -> list[Tensor]:
    """Attention weights of every block of timm's, (B, heads, N, N) each, in the order of a forward pass.

    Args:
        network: with timm's attention layers.
        run: runs a forward pass; not of what torch.compile made, which would not see the hooks.
    """
    layers: Any = [layer for layer in network.modules() if hasattr(layer, "fused_attn") and hasattr(layer, "attn_drop")]
    fused, seen = [layer.fused_attn for layer in layers], []
    # The weights exist only where attention is not fused; the dropout after the softmax sees them.
    hooks = [layer.attn_drop.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for layer in layers]
    try:
        for layer in layers:
            layer.fused_attn = False
        run()
    finally:
        for layer, was, hook in zip(layers, fused, hooks, strict=True):
            layer.fused_attn = was
            hook.remove()
    return seen


def attention(backbone: Backbone, image: Tensor) -> Tensor | None:
    """Attention of the class token to each patch in the last block, mean over the heads (Caron et al. 2021).

    Args:
        backbone: a timm vision transformer, or any other network.
        image: normalized images (B, 3, H, W).

    Returns:
        (B, h, w), or None for networks without class token or attention.
    """
    return _of_class_token(backbone, image, lambda weights: weights[-1].float().mean(1))


def rollout(backbone: Backbone, image: Tensor) -> Tensor | None:
    """Attention of the class token to each patch, through all blocks (Abnar and Zuidema 2020); see `attention`."""
    return _of_class_token(backbone, image, rolled_out)


def rolled_out(weights: Sequence[Tensor]) -> Tensor:
    """Attention rollout (B, N, N): the product of all blocks' mean attention and identity, half each.

    Args:
        weights: (B, heads, N, N) of each block, first to last.
    """
    total = torch.eye(weights[0].shape[-1], device=weights[0].device)
    for block in weights:
        total = (block.float().mean(1) + torch.eye(block.shape[-1], device=block.device)) / 2 @ total
    return total


def _of_class_token(backbone: Backbone, image: Tensor, combine: Callable[[list[Tensor]], Tensor]) -> Tensor | None:
    net = getattr(backbone, "net", backbone)
    if getattr(net, "cls_token", None) is None:
        return None
    maps: list[Tensor] = []
    weights = attention_weights(net, lambda: maps.extend(backbone.forward(image)))
    height, width = maps[-1].shape[-2:] if maps else (0, 0)
    squares = all(one.ndim == 4 and one.shape[-1] == one.shape[-2] > height * width for one in weights)
    if not weights or not squares:  # windows, or pooled keys
        return None
    return combine(weights)[:, 0, -height * width :].unflatten(1, (height, width))
