"""Interfaces of necks, heads and temporal fusion, and the factories that settings name."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from modules.contracts.backbone import Backbone, Features, Maps


class Neck(nn.Module):
    """Feature pyramid in, feature pyramid out."""

    features: Features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class Head(nn.Module):
    """Base of the heads: feature pyramid in, the output of the task out.

    Attributes: `pools` marks heads that take pooled features (B, features.pooled) in place of the maps; `loss_name`, of
    heads with a loss, is that loss in words, with all that changes it, for protocols.
    """

    pools: ClassVar[bool] = False
    loss_name: str = "loss of the head"


def through(backbone: Backbone, head: Head, image: Tensor) -> Tensor:
    """Normalized images through a backbone and a head on its maps, or on its pooled features if the head `pools`."""
    maps = backbone(image)
    return head(backbone.pool(maps) if head.pools else maps)


class Fusion(nn.Module):
    """Temporal fusion of a clip through a backbone: maps without time out.

    Some see the frames after the backbone only; others change the first layers, or all, of the backbone that they are
    made for. `features` describes what comes out; `pools` is true if it uses the backbone's pooled features,
    whatever the head does.
    """

    features: Features
    pools: bool = False

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        """Normalized clips (B, 3, T, H, W) to maps (B, channels[i], h, w), fine to coarse.

        Pooled features (B, features.pooled) are their `end`, which is null if `backbone.pools` is not set.
        """
        raise NotImplementedError


NeckFactory = Callable[[Features], Neck]
HeadFactory = Callable[[Features, int], Head]  # int: number of outputs
FusionFactory = Callable[[Backbone, int], Fusion]  # int: frames of a clip
