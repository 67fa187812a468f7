"""Auxiliary classifiers on intermediate maps, with their own loss in training."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.blocks import convolution, initialize
from modules.backbones.classics.network import Network


class Watching(nn.Module):
    """Base of classifiers on the map that another module gives, in training only.

    In training it keeps the map as it comes by, until it is called; in evaluation it does nothing.

    Args:
        watched: module whose output it classifies.
        level: place of the map in that output, a list; null where the output is the map itself.
    """

    def __init__(self, watched: nn.Module, level: int | None = None):
        super().__init__()
        self.level = level
        self.map: Any = None
        watched.register_forward_hook(self._keep)

    def forward(self) -> Tensor:
        """Logits (B, num_classes) of the last map that came by."""
        x, self.map = self.map, None
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """A map (B, C, h, w) to logits (B, num_classes)."""
        raise NotImplementedError

    def _keep(self, watched: nn.Module, inputs: tuple[Tensor, ...], x: Tensor | Sequence[Tensor]) -> None:
        if self.training:
            self.map = x if self.level is None else x[self.level]


class Auxiliary(Watching):
    """Auxiliary classifier on the map of one stage of a network (Szegedy et al. 2015).

    Args:
        stage: module whose output it classifies.
        inputs: channels of the stage's map.
        num_classes: number of logits.
    """

    def __init__(self, stage: nn.Module, inputs: int, num_classes: int):
        super().__init__(stage)
        self.conv = convolution(inputs, 128, 1, norm=None)
        self.hidden = convolution(128, 1024, 4, padding=0, norm=None)
        self.dropout = nn.Dropout(0.7)
        self.fc = nn.Linear(1024, num_classes)
        initialize(self, "xavier")

    def logits(self, x: Tensor) -> Tensor:
        x = functional.avg_pool2d(x, 5, 3) if min(x.shape[-2:]) >= 5 else x
        x = functional.adaptive_avg_pool2d(self.conv(x), 4)  # for images of 224 x 224 it is 4 x 4 already
        return self.fc(self.dropout(self.hidden(x).flatten(1)))


def watch(net: Network, num_classes: int) -> nn.ModuleList:
    """New auxiliary classifiers of `net`, one at each of its `auxiliary_points`."""
    points = [(net.stages[point], net.feature_info[point]["num_chs"]) for point in net.auxiliary_points]
    return nn.ModuleList(Auxiliary(stage, channels, num_classes) for stage, channels in points)
