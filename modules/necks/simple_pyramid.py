"""Simple feature pyramid of ViTDet, for backbones of one map."""

from itertools import takewhile

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from modules.contracts import ConfigError, Features, Neck, NeckFactory
from modules.necks.no_neck import NoNeck


class SimplePyramid(Neck):
    """Simple feature pyramid.

    Maps of strides 4, 8, 16 and 32 from the one map of a ViT (Li et al. 2022, "Exploring plain vision transformer
    backbones for object detection").

    Finer maps are made by transposed convolutions, each doubling the resolution and halving the channels; coarser ones
    by max-pooling. The projections to equal channels, which the paper counts to it, are the FPN's, where one follows.
    Dense tasks put it between a backbone of one map and their neck by themselves.

    Args:
        features: one map, such as of stride 16; of stride 14 the pyramid has strides 7, 14 and 28.

    Raises:
        ConfigError: the backbone has a pyramid already.
    """

    def __init__(self, features: Features):
        super().__init__()
        if len(features.strides) > 1:
            raise ConfigError(
                f"SimplePyramid is for backbones of one map, but this one has strides {features.strides}: "
                f"choose another --model.neck"
            )
        (channels,), (stride,) = features
        finest = stride
        while finest > 4 and finest % 2 == 0:
            finest //= 2
        strides = list(takewhile(lambda each: each <= max(32, stride), (finest * 2**i for i in range(10))))
        self.levels = nn.ModuleList(_level(channels, stride, each) for each in strides)
        self.features = Features([max(1, channels * min(each, stride) // stride) for each in strides], strides)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map (B, C, h, w) to maps, fine to coarse; coarser than it they have C channels, finer ones fewer."""
        return [level(maps[0]) for level in self.levels]


class AfterPyramid(Neck):
    """A SimplePyramid and a neck on it."""

    def __init__(self, features: Features, neck: NeckFactory):
        super().__init__()
        self.pyramid = SimplePyramid(features)
        self.neck = neck(self.pyramid.features)
        self.features = self.neck.features

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map to the maps of the neck."""
        return self.neck(self.pyramid(maps))


def build_neck(features: Features, neck: NeckFactory | None) -> Neck:
    """The neck of a dense task: on a backbone of one coarse map it stands on a SimplePyramid, unless it is NoNeck.

    Args:
        features: feature pyramid of the backbone.
        neck: null is none, but for a backbone of one map the pyramid alone.
    """
    alone = len(features.strides) == 1 and features.strides[0] > 4
    if neck is None:
        return SimplePyramid(features) if alone else NoNeck(features)
    built = neck(features)
    return AfterPyramid(features, neck) if alone and not isinstance(built, NoNeck | SimplePyramid) else built


def _level(channels: int, before: int, after: int) -> nn.Module:
    """From a map of stride `before` to one of stride `after`."""
    if after > before:
        factor = after // before
        return nn.MaxPool2d(factor, ceil_mode=True)
    layers: list[nn.Module] = []
    while before > after:
        layers += [LayerNorm2d(channels), nn.GELU()] * bool(layers)
        layers.append(nn.ConvTranspose2d(channels, channels // 2, 2, 2))
        before, channels = before // 2, channels // 2
    return nn.Sequential(*layers)
