"""Vision Transformers on a part of their tokens, or with mask tokens: for MAE, I-JEPA and iBOT."""

from typing import Any

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from modules.backbones.video_vit import SpaceTimeNetwork, clip_grid
from modules.contracts import Backbone, ConfigError


def token_network(backbone: Backbone, setting: str) -> Any:
    """The Vision Transformer inside a backbone, of images or of clips.

    Args:
        backbone: any `Timm` one whose network is timm's `VisionTransformer`, with or without a class token, or a
            `VideoViT`.
        setting: method or option that works on tokens, for the sentence.

    Raises:
        ConfigError: another network.
    """
    net = backbone.net
    plain = isinstance(net, VisionTransformer) and isinstance(net.patch_embed, PatchEmbed)
    if plain or isinstance(net, SpaceTimeNetwork):
        return net
    raise ConfigError(
        f"{setting} works on tokens of timm's Vision Transformers, which {backbone.name} does not have: choose "
        f"--model.backbone vit_tiny_patch16_224, vit_small_patch16_224, test_vit, ..."
    )


def token_grid(net: Any, image: Tensor) -> Any:
    """Rows and columns of the patches of images (B, C, H, W), with steps of time before them for clips (B, C, T, H, W).

    Raises:
        ConfigError: the images do not fall into whole patches, or are one patch, so that none is left to be hidden.
    """
    if isinstance(net, SpaceTimeNetwork):
        return clip_grid(net, image)
    (height, width), (high, wide) = image.shape[-2:], net.patch_embed.patch_size
    if height % high or width % wide:
        raise ConfigError(
            f"images of {height} x {width} pixels do not fall into whole patches of {high} x {wide}: set "
            f"--data.image_size {-(-max(height, width) // high) * high}"
        )
    if (height, width) == (high, wide):
        raise ConfigError(
            f"images of {height} x {width} pixels are a single patch, but some are hidden and some are not: set "
            f"--data.image_size {2 * high} or more"
        )
    return height // high, width // wide


def encode(
    net: Any,
    image: Tensor,
    visible: Tensor | None = None,
    hidden: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tensor:
    """Normalized tokens of the last layer (B, P + N, D), P class and register tokens first.

    Without masks these are the tokens of the plain network (timm's `forward_features`).

    Args:
        net: of `token_network`.
        image: normalized images (B, C, H, W), or clips (B, C, T, H, W).
        visible: patches that the network gets, int64 (B, K): N is K then; null is all. All others cost nothing behind
            the embedding of patches.
        hidden: patches in whose place `mask_token` stands, bool (B, N).
        mask_token: (D,).
    """
    x = net.patch_embed(image)
    if hidden is not None and mask_token is not None:
        x = torch.where(hidden.view(*x.shape[:-1], 1), mask_token.to(x.dtype), x)
    x = net._pos_embed(x)
    if visible is not None:
        x = torch.cat([x[:, : net.num_prefix_tokens], take(x[:, net.num_prefix_tokens :], visible)], 1)
    return net.norm(net.blocks(net.norm_pre(x)))


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """Tokens (B, K, D) at places (B, K) of (B, N, D)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
