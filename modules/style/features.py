"""Loss network of style transfer: levels of a frozen backbone, and the loss against content and styles."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from modules.contracts import Backbone, ConfigError, check_range
from modules.insight.ascent import total_variation
from modules.losses.style import content_loss, gram, style_loss


@dataclass(frozen=True)
class StyleWeights:
    """Weights of the three losses.

    Args:
        style: of the style loss, by Gram matrices.
        content: of the content loss.
        tv: of the total variation, which smooths.
    """

    style: float = 1000.0
    content: float = 1.0
    tv: float = 1.0

    def check(self, prefix: str) -> None:
        """Check that all are 0 or more, and not both style and content 0.

        Args:
            prefix: of the settings, such as `model.` of `model.style_weight`.

        Raises:
            ConfigError: they are not; names the setting.
        """
        for name, value in vars(self).items():
            check_range(f"{prefix}{name}_weight", value)
        if not self.style and not self.content:
            raise ConfigError(f"{prefix}style_weight and content_weight are both 0: nothing is left to optimize")


class StyleFeatures:
    """Levels of a backbone whose Gram matrices are the style, and the level that is the content.

    Args:
        backbone: of images of three channels; in evaluation mode.
        style_levels: levels of its pyramid, 0 the finest; null takes all up to stride 16.
        content_level: the level of the content; null takes the finest of stride 4 or more.

    Raises:
        ConfigError: a level that it does not have, or a backbone of clips.
    """

    def __init__(self, backbone: Backbone, style_levels: Sequence[int] | None = None, content_level: int | None = None):
        if backbone.temporal or backbone.in_channels != 3:
            takes = "clips" if backbone.temporal else f"images of {backbone.in_channels} channels"
            raise ConfigError(f"{backbone.name} takes {takes}: style is of color images, so choose another backbone")
        self.backbone, strides = backbone, backbone.features.strides
        if style_levels is None:
            style_levels = [i for i, stride in enumerate(strides) if stride <= 16] or [0]
        if content_level is None:
            content_level = next((i for i, stride in enumerate(strides) if stride >= 4), len(strides) - 1)
        for level in (*style_levels, content_level):
            if not 0 <= level < len(strides):
                said = ", ".join(f"{i} (stride {stride})" for i, stride in enumerate(strides))
                raise ConfigError(f"{backbone.name} has no level {level}: its levels are {said}")
        if not style_levels:
            raise ConfigError("style_levels is empty: name at least one level, or leave it out")
        self.style_levels, self.content_level = list(style_levels), content_level

    def __call__(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Images (B, 3, H, W) in 0..1 to maps of the style's levels and of the content's."""
        maps = self.backbone(self.backbone.standardize(image))
        return [maps[level] for level in self.style_levels], maps[self.content_level]

    @torch.no_grad()
    def style(self, image: Tensor) -> list[Tensor]:
        """Gram matrices (B, C, C) of a style image (B, 3, H, W) in 0..1, by level."""
        return [gram(cells) for cells in self(image)[0]]

    @torch.no_grad()
    def content(self, image: Tensor) -> Tensor:
        """Maps of a content image (B, 3, H, W) in 0..1."""
        return self(image)[1]

    def losses(self, image: Tensor, style: Sequence[Tensor], content: Tensor) -> dict[str, Tensor]:
        """Losses `style`, `content` and `tv` of images (B, 3, H, W) in 0..1, (B,) each.

        Args:
            image: whose gradients are kept.
            style: as of `style`, mixed or not.
            content: as of `content`.
        """
        maps, cells = self(image)
        found = {"style": style_loss(maps, style), "content": content_loss(cells, content)}
        return found | {"tv": total_variation(image.float())}


def weighted(losses: dict[str, Tensor], weights: StyleWeights) -> Tensor:
    """Sum of losses by their weights."""
    return weights.style * losses["style"] + weights.content * losses["content"] + weights.tv * losses["tv"]
