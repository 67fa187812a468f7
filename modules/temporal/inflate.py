"""2-D to 3-D inflation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.lora import adapted
from modules.contracts import Backbone, ConfigError, Fusion, Maps
from modules.temporal.frames import check_images, last_level, mean_of_frames


class Inflate(Fusion):
    """I3D inflation: every spatial convolution also spans neighboring frames (Carreira & Zisserman 2017).

    Weights of images are repeated in time and divided by its extent, and the first and last frame are repeated at the
    ends: a still clip gives exactly the features of the image. Time keeps its resolution, and the maps of all frames
    are averaged. The tensors keep their names; loaded into a backbone of images again, they are summed over time.

    Args:
        backbone: its convolutions are replaced in place.
        frames: of a clip.
        extent: frames that each convolution sees, an odd number.

    Raises:
        ConfigError: an even extent, a backbone without plain convolutions, or one with adapters.
    """

    def __init__(self, backbone: Backbone, frames: int, extent: int = 3):
        super().__init__()
        check_images(backbone, "inflate")
        if extent < 1 or extent % 2 == 0:
            raise ConfigError(f"fusion.extent is {extent}, but a convolution needs a frame in its middle: set it to 3")
        self.features = last_level(backbone)
        spatial = [
            (n, m) for n, m in backbone.net.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1)
        ]
        if adapted(backbone.net):
            raise ConfigError(
                "fusion inflate replaces the convolutions that model.lora puts adapters beside: choose another "
                "--model.fusion, or leave model.lora out"
            )
        others = {type(conv).__name__ for _, conv in spatial if type(conv) is not nn.Conv2d}
        if not spatial or others:
            has = ", ".join(sorted(others)) or "none"
            raise ConfigError(f"fusion inflate needs plain convolutions, but {backbone.name} has {has}")
        for name, conv in spatial:
            parent, _, last = name.rpartition(".")
            setattr(backbone.net.get_submodule(parent), last, InflatedConv(conv, frames, extent))

    def forward(self, backbone: Backbone, video: Tensor) -> Maps:
        return mean_of_frames(backbone, video)


class InflatedConv(nn.Module):
    """A 2-D convolution made 3-D, on maps (B T, C, H, W) of frames one after the other.

    Args:
        conv: weights (O, I, h, w) become (O, I, extent, h, w).
        frames: T.
        extent: frames that it sees; at the ends of a clip the outer frames are repeated.
    """

    def __init__(self, conv: nn.Conv2d, frames: int, extent: int):
        super().__init__()
        weight = conv.weight.detach().unsqueeze(2).repeat(1, 1, extent, 1, 1) / extent
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last_3d), conv.weight.requires_grad)
        self.bias, self.frames, self.groups = conv.bias, frames, conv.groups
        self.stride, self.padding, self.dilation = (
            (one, *two) for one, two in ((1, conv.stride), (0, conv.padding), (1, conv.dilation))
        )

    def forward(self, x: Tensor) -> Tensor:
        clips, around = x.unflatten(0, (-1, self.frames)).transpose(1, 2), self.weight.shape[2] // 2
        ends = [clips[:, :, :1]] * around, [clips[:, :, -1:]] * around
        clips = torch.cat([*ends[0], clips, *ends[1]], 2)
        clips = functional.conv3d(clips, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return clips.transpose(1, 2).flatten(0, 1)
