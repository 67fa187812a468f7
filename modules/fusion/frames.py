"""Fusions behind a backbone that looks at every frame alone: one frame, pooling, a fully connected layer."""

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError, Features, Fusion


def each_frame(backbone: Backbone, video: Tensor) -> Tensor:
    """The coarsest maps of clips (B, 3, T, H, W), frame by frame: (B, T, C, h, w); of a backbone for clips those of
    the t steps that it leaves."""
    if backbone.temporal:
        return backbone(video)[-1].transpose(1, 2)
    frames = video.transpose(1, 2)
    return backbone(frames.flatten(0, 1))[-1].unflatten(0, frames.shape[:2])


def pooled_frames(backbone: Backbone, video: Tensor) -> Tensor:
    """Features of every frame: the means of its maps, (B, T, C)."""
    return each_frame(backbone, video).mean((-2, -1))


def as_maps(features: Tensor) -> list[Tensor]:
    """(B, D) as maps of a single cell."""
    return [features[..., None, None]]


def vector(width: int, backbone: Backbone) -> Features:
    """Features of a single cell that spans what the backbone's coarsest does."""
    return Features([width], backbone.features.strides[-1:])


def check_pictures(backbone: Backbone, kind: str) -> None:
    """Whether the backbone sees single frames, which fusions need that come before its end.

    Raises:
        ConfigError: it is one for clips.
    """
    if backbone.temporal:
        raise ConfigError(
            f"{backbone.name} sees time itself, so that fusion {kind} has no frames to bring together: "
            f"set --model.fusion mean, max, lstm, gru or attention"
        )


class Single(Fusion):
    """The middle frame alone: what can be told without time."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        check_pictures(backbone, "single")
        self.features = backbone.features

    def forward(self, backbone: Backbone, video: Tensor) -> list[Tensor]:
        return backbone(video[:, :, video.shape[2] // 2])


class Mean(Fusion):
    """The mean of the maps of all frames; blind to their order (late fusion by pooling)."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        self.features = vector(backbone.features.channels[-1], backbone)

    def forward(self, backbone: Backbone, video: Tensor) -> list[Tensor]:
        return [each_frame(backbone, video).mean(1)]


class Max(Fusion):
    """The highest value of each feature among all frames; blind to their order."""

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        self.features = vector(backbone.features.channels[-1], backbone)

    def forward(self, backbone: Backbone, video: Tensor) -> list[Tensor]:
        return as_maps(pooled_frames(backbone, video).amax(1))


class Concat(Fusion):
    """The features of all frames side by side, then a fully connected layer (late fusion, Karpathy et al. 2014).

    Args:
        backbone: looks at every frame.
        frames: of a clip.
        hidden: width of the layer.
        dropout: share of its outputs set to zero in training, 0..1.
    """

    def __init__(self, backbone: Backbone, frames: int, hidden: int = 512, dropout: float = 0.0):
        super().__init__()
        check_pictures(backbone, "concat")
        self.features = vector(hidden, backbone)
        width = frames * backbone.features.channels[-1]
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        nn.init.kaiming_normal_(self.layers[0].weight, nonlinearity="relu")
        nn.init.zeros_(self.layers[0].bias)

    def forward(self, backbone: Backbone, video: Tensor) -> list[Tensor]:
        return as_maps(self.layers(torch.flatten(pooled_frames(backbone, video), 1)))
