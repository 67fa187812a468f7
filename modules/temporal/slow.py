"""Slow fusion: neighboring frames come together stage by stage."""

from functools import partial

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError, Fusion, Maps
from modules.temporal.frames import check_images, last_level


class Slow(Fusion):
    """Slow fusion (Karpathy et al. 2014) on any convolutional backbone.

    Behind each of the backbone's first stages, a convolution makes one map of every two neighboring ones, so that
    higher stages see longer parts of the clip.

    Frames are halved until an odd number or the last stage is reached; the maps of those that are left are averaged.
    The convolutions start near the mean of the two: a still clip gives the backbone's own features.

    Args:
        backbone: its stages are followed in place; their tensors keep their names.
        frames: of a clip, an even number.

    Raises:
        ConfigError: an odd number of frames, or a backbone of one stage or of tokens.
    """

    def __init__(self, backbone: Backbone, frames: int):
        super().__init__()
        check_images(backbone, "slow")
        stages, channels = stage_names(backbone)[:-1], backbone.features.channels
        halvings = min((frames & -frames).bit_length() - 1, len(stages))
        if not halvings:
            raise ConfigError(
                f"fusion slow halves the frames between the stages of a backbone: set --data.frames to an even number "
                f"(now {frames}) and choose a backbone of several stages ({backbone.name} has {len(stages) + 1})"
            )
        self.features, self.left = last_level(backbone), frames >> halvings
        self.pairs = nn.ModuleList(_pair(width) for width in channels[:halvings])
        for index, name in enumerate(stages[:halvings]):
            backbone.net.get_submodule(name).register_forward_hook(partial(self._join, index))

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        sizes = (video.shape[0], video.shape[2] >> len(self.pairs))
        maps = backbone(video.transpose(1, 2).flatten(0, 1))
        pooled = backbone.pool(maps).unflatten(0, sizes).mean(1) if backbone.pools else None
        return Maps([maps[-1].unflatten(0, sizes).mean(1)], pooled)

    def _join(self, index: int, stage: nn.Module, inputs: tuple[Tensor, ...], maps: Tensor) -> Tensor:
        pair = self.pairs[index]
        if maps.ndim != 4 or 2 * maps.shape[1] != pair.in_channels:
            raise ConfigError("fusion slow needs a convolutional backbone, such as resnet18")
        return pair(maps.unflatten(0, (-1, 2)).flatten(1, 2))


def stage_names(backbone: Backbone) -> list[str]:
    """The modules of a timm backbone that end its levels."""
    return [backbone.net.feature_info[level]["module"] for level in backbone.levels]


def _pair(width: int) -> nn.Conv2d:
    """1x1 convolution of two maps beside each other to one: their mean plus a random projection of their difference."""
    conv, half = nn.Conv2d(2 * width, width, 1, bias=False), 0.5 * torch.eye(width)
    differs = torch.randn(width, width) / (2 * width) ** 0.5
    with torch.no_grad():
        conv.weight.copy_(torch.cat([half + differs, half - differs], 1)[..., None, None])
    return conv
