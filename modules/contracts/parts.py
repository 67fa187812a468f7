"""Interfaces of necks and temporal fusions, and the factories that settings name; heads: `modules.heads.base`."""

from collections.abc import Callable

from torch import Tensor, nn

from modules.contracts.backbone import Backbone, Features, Maps


class Neck(nn.Module):
    """Feature pyramid in, feature pyramid out."""

    features: Features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


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
FusionFactory = Callable[[Backbone, int], Fusion]  # int: frames of a clip
