"""C3D: an early network of 3-D convolutions."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.torchvision_video import check_clips
from modules.backbones.unet import Stages
from modules.contracts import Backbone, Features


class C3D(Backbone):
    """C3D: eight 3x3x3 convolutions with max-pooling between them.

    Tran et al. 2015, "Learning spatiotemporal features with 3D convolutional networks".

    With `norm: false`, 16 frames of 112 x 112 pixels and the head `FullyConnected` it is the network of the paper: 78.4
    million parameters for the 101 classes of UCF101, of which 27.7 are in here. There are no pretrained weights; those
    of a run here load as any other's.

    Args:
        norm: batch norm after each convolution, which training from scratch needs; without it, as in the paper, they
            have biases.
    """

    temporal = True

    def __init__(self, norm: bool = True):
        super().__init__()
        self.name, self.small_images, self.in_channels = "c3d", False, 3
        self.features = Features([64, 128, 256, 512, 512], [1, 2, 4, 8, 32])
        widths = (3, 64), (64, 128), (128, 256, 256), (256, 512, 512), (512, 512, 512)
        self.net = Stages(_stage(channels, norm) for channels in widths)
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("std", torch.full((3,), 0.25))

    def forward(self, video: Tensor) -> list[Tensor]:
        check_clips(self, video)
        maps = [self.net[0](video)]
        for index, stage in enumerate(self.net[1:]):
            maps.append(stage(_pool(maps[-1], 2 if index else 1)))
        maps[-1] = _pool(maps[-1], 2, (0, 1, 1))  # 7 x 7 cells to 4 x 4
        return maps


def _pool(clips: Tensor, frames: int, padding: tuple[int, int, int] = (0, 0, 0)) -> Tensor:
    """Max-pooling over `frames` x 2 x 2; a single frame that is left stays."""
    frames = min(frames, clips.shape[2])
    return functional.max_pool3d(clips, (frames, 2, 2), padding=padding)


def _stage(channels: tuple[int, ...], norm: bool) -> nn.Sequential:
    return nn.Sequential(*(_convolution(before, after, norm) for before, after in pairwise(channels)))


def _convolution(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    conv = nn.Conv3d(inputs, outputs, 3, padding=1, bias=not norm)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if not norm:
        nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.BatchNorm3d(outputs) if norm else nn.Identity(), nn.ReLU(inplace=True))
