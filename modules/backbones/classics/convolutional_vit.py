"""ViTs that see the image through 3x3 convolutions instead of large patches."""

from functools import partial
from typing import Any

from timm.layers import HybridEmbed
from timm.models import PretrainedCfg, VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from torch import Tensor
from torch.nn import functional

from modules.backbones.classics.network import register


class ConvolutionalEmbedding(HybridEmbed):
    """Cells of 16 x 16 pixels as tokens, made by 3x3 convolutions with batch norm and ReLU and a last 1x1 convolution.

    Args:
        widths: channels of the 3x3 convolutions.
        strides: of the 3x3 convolutions.
        in_chans: channels of the images.
        embed_dim: channels of the tokens.
        options: those of timm's `HybridEmbed`.
    """

    def __init__(
        self, widths: tuple[int, ...], strides: tuple[int, ...], in_chans: int, embed_dim: int, **options: Any
    ):
        kernels = (*[3] * len(widths), 1)
        stem = ConvStem(in_chans, len(kernels), (*widths, embed_dim), kernels, (*strides, 1))
        options["patch_size"] = 1  # of the map from the convolutions
        super().__init__(stem, in_chans=in_chans, embed_dim=embed_dim, proj=False, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W), filled up with 0 to whole cells, to tokens."""
        height, width = x.shape[-2:]
        return super().forward(functional.pad(x, (0, -width % 16, 0, -height % 16)))

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        return tuple(-(-side // 16) for side in img_size)


@register
def vitc_1gf(**options: Any) -> VisionTransformer:
    """Xiao et al. 2021, "Early convolutions help transformers see better": 4.6 million parameters, 1.1 GMACs.

    It has one block fewer than a ViT of its size, which pays for the convolutions. Takes the options of timm's
    `VisionTransformer`, and images of any size.
    """
    return _vit((24, 48, 96, 192), {"embed_dim": 192, "depth": 11, "num_heads": 3, "mlp_ratio": 3} | options)


@register
def vitc_4gf(**options: Any) -> VisionTransformer:
    """The same with 17.8 million parameters and 4.0 GMACs."""
    return _vit((48, 96, 192, 384), {"embed_dim": 384, "depth": 11, "num_heads": 6, "mlp_ratio": 3} | options)


@register
def vitc_18gf(**options: Any) -> VisionTransformer:
    """The same with 81.6 million parameters and 17.7 GMACs."""
    return _vit(DEEP, {"embed_dim": 768, "depth": 11, "num_heads": 12} | options)


@register
def vitc_36gf(**options: Any) -> VisionTransformer:
    """The same with 167.8 million parameters and 35.0 GMACs."""
    return _vit(DEEP, {"embed_dim": 1024, "depth": 13, "num_heads": 16} | options)


DEEP = (64, 128, 128, 256, 256, 512)


def _vit(widths: tuple[int, ...], options: dict[str, Any]) -> VisionTransformer:
    embed = partial(ConvolutionalEmbedding, widths, (2, 2, 1, 2, 1, 2) if widths == DEEP else (2, 2, 2, 2))
    net = VisionTransformer(embed_layer=embed, **{"dynamic_img_size": True} | options)
    first, size = "patch_embed.backbone.0.conv", (net.in_chans, *net.patch_embed.img_size)
    settings = PretrainedCfg(input_size=size, num_classes=net.num_classes, first_conv=first, classifier="head")
    net.pretrained_cfg = settings.to_dict()
    return net
