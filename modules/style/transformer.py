"""Feed-forward network of style transfer (Johnson et al. 2016), for several styles by conditional norms."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import check_sizes

Norm = Literal["instance", "batch"]
MULTIPLE = 4  # pixels to which images are padded


class StyleNorm(nn.Module):
    """Instance or batch norm with a scale and a shift per style (Dumoulin et al. 2017, "A learned representation").

    Args:
        channels: of the maps.
        styles: number of styles.
        norm: `instance` (Ulyanov et al. 2016) or `batch`.
    """

    def __init__(self, channels: int, styles: int, norm: Norm = "instance"):
        super().__init__()
        kinds = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
        self.norm = kinds[norm](channels, affine=False)
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        """Maps (B, channels, H, W) and weights of the styles (B, styles)."""
        scale, shift = ((mix @ table.to(mix))[..., None, None].to(x.dtype) for table in (self.scale, self.shift))
        return self.norm(x) * scale + shift


class ConvBlock(nn.Module):
    """Convolution of a map with reflected edges, norm and, unless `linear`, ReLU.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        kernel: side.
        styles: see `StyleNorm`.
        norm: see `StyleNorm`.
        stride: of the convolution.
        linear: without ReLU.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, styles: int, norm: Norm, stride: int = 1, linear: bool = False
    ):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, padding_mode="reflect")
        self.norm, self.linear = StyleNorm(outputs, styles, norm), linear

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        x = self.norm(self.conv(x), mix)
        return x if self.linear else functional.relu(x)


class Residual(nn.Module):
    """Two 3x3 convolutions, added to the map."""

    def __init__(self, channels: int, styles: int, norm: Norm):
        super().__init__()
        self.first = ConvBlock(channels, channels, 3, styles, norm)
        self.second = ConvBlock(channels, channels, 3, styles, norm, linear=True)

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        return x + self.second(self.first(x, mix), mix)


class TransformerNet(nn.Module):
    """Image to stylized image of the same size: two strided convolutions, residual blocks, two enlargements.

    As in Johnson et al. 2016, supplementary material, with the changes of Dumoulin et al. 2017: reflected edges,
    nearest-neighbor upsampling in place of transposed convolutions, a sigmoid at the end, gray at first. With width 32,
    5 blocks and one style 1,679,235 parameters.

    Args:
        styles: number of styles; each has its own scales and shifts.
        width: channels of the first convolution; coarser maps have 2 and 4 times as many.
        blocks: residual blocks.
        norm: see `StyleNorm`.
        skip: the last convolution also sees the image, whose colors and contrast instance norm takes away.

    Raises:
        ConfigError: a size below 1.
    """

    def __init__(self, styles: int = 1, width: int = 32, blocks: int = 5, norm: Norm = "instance", skip: bool = False):
        super().__init__()
        check_sizes("model", width=width, blocks=blocks)
        self.styles, self.skip, args = styles, skip, (styles, norm)
        self.down = nn.ModuleList(
            [
                ConvBlock(3, width, 9, *args),
                ConvBlock(width, 2 * width, 3, *args, stride=2),
                ConvBlock(2 * width, 4 * width, 3, *args, stride=2),
            ]
        )
        self.blocks = nn.ModuleList(Residual(4 * width, *args) for _ in range(blocks))
        self.up = nn.ModuleList([ConvBlock(4 * width, 2 * width, 3, *args), ConvBlock(2 * width, width, 3, *args)])
        self.last = nn.Conv2d(width + 3 * skip, 3, 9, padding=4, padding_mode="reflect")
        nn.init.normal_(self.last.weight, std=0.01)  # gray at first: a sigmoid far from 0 learns nothing

    def forward(self, image: Tensor, mix: Tensor) -> Tensor:
        """Images (B, 3, H, W) in 0..1, and weights of the styles (B, styles), to images of the same size in 0..1."""
        height, width = image.shape[-2:]
        x = functional.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        x = seen = 2 * x - 1
        for layer in (*self.down, *self.blocks):
            x = layer(x, mix)
        for layer in self.up:
            x = layer(functional.interpolate(x, scale_factor=2, mode="nearest"), mix)
        x = torch.cat([x, seen.to(x.dtype)], 1) if self.skip else x
        return self.last(x).sigmoid()[..., :height, :width]
