"""Residual generator and discriminator of SNGAN, with more levels for larger images.

Miyato et al. 2018, tables 4 to 6.
"""

import math
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from modules.contracts import check_sizes
from modules.gan.contracts import Discriminator, Generator, ImageSpec, constrain
from modules.gan.norms import ConditionalBatchNorm

WIDEST = 16  # times the width of the finest maps, above 32 pixels
DOWN = 5  # halvings of images above 32 pixels


class UpBlock(nn.Module):
    """Norm, ReLU, doubling, convolution, norm, ReLU, convolution, and a 1x1 convolution of the doubled input."""

    def __init__(self, inputs: int, outputs: int, classes: int):
        super().__init__()
        self.norm1, self.norm2 = ConditionalBatchNorm(inputs, classes), ConditionalBatchNorm(outputs, classes)
        self.conv1, self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        y = self.conv1(_doubled(functional.relu(self.norm1(x, label))))
        y = self.conv2(functional.relu(self.norm2(y, label)))
        return y + _doubled(self.shortcut(x))  # a 1x1 convolution is the same before, at a quarter of the cost


class DownBlock(nn.Module):
    """ReLU, convolution, ReLU, convolution, halving, and a 1x1 convolution of the input where its shape changes.

    Args:
        inputs: channels.
        outputs: channels.
        down: halve the side.
        first: the input is an image, without ReLU before the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, down: bool, first: bool = False):
        super().__init__()
        hidden = outputs if first else inputs
        self.down, self.first = down, first
        self.conv1, self.conv2 = nn.Conv2d(inputs, hidden, 3, padding=1), nn.Conv2d(hidden, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if down or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(x if self.first else functional.relu(x))))
        if self.down:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        return y + (x if self.shortcut is None else self.shortcut(x))  # averages commute with a 1x1 convolution


class ResNetGenerator(Generator):
    """Residual blocks from a map of 4 to 7 pixels; each doubles the side.

    Args:
        spec: image shape and classes.
        latent: numbers of noise.
        width: channels of the finest map; up to 32 pixels all maps have as many, above each coarser one twice as many,
            up to 16 times. Null is the paper's: 256 up to 32 pixels, 64 above.

    Raises:
        ConfigError: a size that it cannot make.
    """

    def __init__(self, spec: ImageSpec, latent: int, width: int | None = None):
        super().__init__(spec, latent)
        self.base, times = spec.doublings("ResNetGenerator")
        small = spec.size <= 32
        width = (256 if small else 64) if width is None else width
        check_sizes("generator", width=width)
        widths = [width * (1 if small else min(WIDEST, 2**i)) for i in reversed(range(times + 1))]
        classes = spec.classes if spec.condition == "projection" else 0
        self.first = nn.Linear(self.inputs, widths[0] * self.base**2)
        self.blocks = nn.ModuleList(UpBlock(a, b, classes) for a, b in pairwise(widths))
        self.norm, self.last = ConditionalBatchNorm(width, 0), nn.Conv2d(width, spec.channels, 3, padding=1)
        initialize(self)

    def forward(self, noise: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.first(self.code(noise, label)).unflatten(1, (-1, self.base, self.base))
        for block in self.blocks:
            x = block(x, label)
        return self.last(functional.relu(self.norm(x))).tanh()


class ResNetDiscriminator(Discriminator):
    """Residual blocks without norm, and the sum of the last map.

    Args:
        spec: image shape and classes.
        width: channels of the finest map; up to 32 pixels all maps have as many, above each coarser one twice as many,
            up to 16 times. Null is the paper's: 128 up to 32 pixels, 64 above.
        spectral: spectral norm on every layer, as SNGAN has it.

    Raises:
        ConfigError: an unsupported image size.
    """

    def __init__(self, spec: ImageSpec, width: int | None = None, spectral: bool = False):
        spec.doublings("ResNetDiscriminator")
        small = spec.size <= 32
        width = (128 if small else 64) if width is None else width
        check_sizes("discriminator", width=width)
        widths = [width] * 4 if small else [width * min(WIDEST, 2**i) for i in range(DOWN)]
        down = [True, True, False, False] if small else [True] * DOWN
        if spec.size >> DOWN >= 4:
            widths, down = [*widths, widths[-1]], [*down, False]
        super().__init__(spec, widths[-1])
        inputs = [spec.channels, *widths[:-1]]
        self.blocks = nn.Sequential(
            *(DownBlock(a, b, d, first=i == 0) for i, (a, b, d) in enumerate(zip(inputs, widths, down, strict=True)))
        )
        initialize(self)
        if spectral:
            constrain(self)

    def features(self, image: Tensor) -> Tensor:
        return functional.relu(self.blocks(image)).sum((2, 3))


def initialize(network: nn.Module) -> None:
    """Xavier's uniform weights, the 3x3 convolutions of residual blocks times the square root of 2."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            residual = name.rpartition(".")[2] in ("conv1", "conv2")
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if residual else 1.0)
            nn.init.zeros_(layer.bias)


def _doubled(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="nearest")
