"""Early fusion: the first convolution sees all frames at once."""

import math

import torch
from torch import Tensor, nn

from modules.backbones.lora import Adapter
from modules.contracts import Backbone, ConfigError, Fusion, Maps
from modules.temporal.frames import check_images, with_pooled


class Early(Fusion):
    """The first convolution sees the frames as 3T channels (early fusion, Karpathy et al. 2014).

    Weights for single images are repeated and divided by T when they are loaded, so that a still clip gives the
    backbone's own features; without weights, all 3T channels are drawn.

    Args:
        backbone: its first convolution is widened in place.
        frames: of a clip.

    Raises:
        ConfigError: a backbone that does not start with a convolution.
    """

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        check_images(backbone, "early")
        self.features = backbone.features
        names = backbone.config.get("first_conv")
        if not isinstance(names, str) or not isinstance(backbone.net.get_submodule(names), nn.Conv2d):
            raise ConfigError(
                f"fusion early needs a backbone that starts with one convolution; {backbone.name} does not"
            )
        _widen(backbone.net.get_submodule(names), frames)

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        stacked = video.transpose(1, 2).flatten(1, 2)  # as repeated weights are: all channels of a frame together
        return with_pooled(backbone, stacked.contiguous(memory_format=backbone.memory_format))


def _widen(conv: nn.Conv2d, times: int) -> None:
    """Freshly drawn weights (O, times I, h, w), of the same spread per image as before."""
    old = conv.weight
    drawn = torch.randn(old.shape[0], times * old.shape[1], *old.shape[2:]) * old.std() / math.sqrt(times)
    conv.weight = nn.Parameter(drawn.contiguous(memory_format=torch.channels_last), old.requires_grad)
    conv.in_channels *= times
    if isinstance(adapter := getattr(conv, "lora", None), Adapter):
        adapter.widen(times)
