"""Raw pixels as features, the baseline of every learned backbone."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import Backbone, ConfigError, Features, check_sizes


class RawPixels(Backbone):
    """Standardized pixels without a network: `--model.backbone pixels`.

    The map is the image; the pooled features are all its pixels in one row, so that the head `Linear` is the linear
    classifier on pixels, and kNN compares images pixel by pixel. There is nothing to learn and no weights.

    Args:
        size: side of the square that images are averaged down to; images of this size stay as they are.
        in_channels: channels C of the images; there are C x size x size features.

    Raises:
        ConfigError: images smaller than `size`.
    """

    def __init__(self, size: int = 32, in_channels: int = 3):
        super().__init__()
        check_sizes("backbone", size=size, in_channels=in_channels)
        self.name, self.in_channels, self.size = "pixels", in_channels, size
        self.net = nn.Identity()
        self.features = Features([in_channels], [1], in_channels * size**2)
        self.register_buffer("mean", torch.full((in_channels,), 0.5))
        self.register_buffer("std", torch.full((in_channels,), 0.25))

    def forward(self, image: Tensor) -> list[Tensor]:
        if min(image.shape[-2:]) < self.size:
            raise ConfigError(
                f"pixels averages images down to {self.size} x {self.size}, but these have "
                f"{image.shape[-2]} x {image.shape[-1]} pixels: raise --data.image_size, or set --model.backbone "
                f"RawPixels --model.backbone.size {min(image.shape[-2:])}"
            )
        return [self.net(image)]

    def pool(self, maps: list[Tensor]) -> Tensor:
        """Pixels (B, C x size x size): rows of the first channel, then of the next."""
        return functional.adaptive_avg_pool2d(maps[-1], self.size).flatten(1)
