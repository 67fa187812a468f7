"""Wide ResNets: few layers, many channels."""

import torch
from torch import Tensor, nn

from modules.backbones.classics.blocks import Init, Residual, activation_layer, initialize, norm_layer
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features


class WideBlock(Residual):
    """Residual block of two 3x3 convolutions, each after norm and activation, with dropout between them.

    Where stride or channels change, a 1x1 convolution of the first activation is added instead.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        stride: of the first convolution.
        dropout: share of values that are set to 0 in training, 0..1.
        drop_path: probability of leaving out the branch in training, for each image, 0..1.
        norm: by timm's names.
        activation: by timm's names.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        norm: str = "batchnorm",
        activation: str = "relu",
    ):
        same, act = stride == 1 and inputs == outputs, activation_layer(activation)
        branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            norm_layer(norm)(outputs),
            act(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        super().__init__(branch, shortcut, activation=None, drop_path=drop_path)
        self.same = same
        self.before = nn.Sequential(norm_layer(norm)(inputs), act(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        active = self.before(x)
        return self.shortcut(x if self.same else active) + self.drop_path(self.branch(active))


@register
def wide_resnet(
    depth: int = 28,
    width: int = 10,
    num_classes: int = 10,
    in_chans: int = 3,
    dropout: float = 0.0,
    drop_path_rate: float = 0.0,
    norm: str = "batchnorm",
    activation: str = "relu",
    init: Init = "kaiming",
) -> Network:
    """Zagoruyko and Komodakis 2016, "Wide residual networks": d-k, for images of about 32 pixels.

    Pre-activation; (d - 4) / 6 blocks at each of the strides 1, 2 and 4. 28-10 has 36,479,194 parameters.

    Arguments that all take: see `classics`.

    Args:
        depth: layers with weights, d: 10, 16, 22, 28, 34, 40, ...
        width: k; the stages have 16 k, 32 k and 64 k channels.
        dropout: between the convolutions of a block; the paper takes 0.3 on CIFAR and 0.4 on SVHN.
        drop_path_rate: highest probability of leaving out a block's branch in training; it rises with depth.

    Raises:
        ConfigError: a depth that three equal stages cannot have.
    """
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest:
        raise ConfigError(f"a wide ResNet has 6 n + 4 layers, not {depth}: set depth to 10, 16, 22, 28, 34 or 40")
    channels = [16 * width, 32 * width, 64 * width]
    rates = torch.linspace(0, drop_path_rate, 3 * blocks, device="cpu").tolist()
    stages, inputs = [], 16
    for outputs, stride in zip(channels, (1, 2, 2), strict=True):
        stage = nn.Sequential()
        for index in range(blocks):
            step = 1 if index else stride
            stage.append(WideBlock(inputs, outputs, step, dropout, rates.pop(0), norm, activation))
            inputs = outputs
        stages.append(stage)
    stages[0].insert(0, nn.Conv2d(in_chans, 16, 3, padding=1, bias=False))
    stages[-1].extend([norm_layer(norm)(inputs), activation_layer(activation)(inplace=True)])
    features, size = Features(channels, [1, 2, 4]), (in_chans, 32, 32)
    net = Network(stages, features, Pooled(inputs, num_classes), input_size=size)
    initialize(net, init)
    return net


@register
def wide_resnet28_10(**options) -> Network:
    """Wide ResNet 28-10; takes the options of `wide_resnet`, as the next ones."""
    return wide_resnet(depth=28, width=10, **options)


@register
def wide_resnet40_4(**options) -> Network:
    """Wide ResNet 40-4: 8,949,210 parameters."""
    return wide_resnet(depth=40, width=4, **options)


@register
def wide_resnet22_8(**options) -> Network:
    """Wide ResNet 22-8: 17,158,106 parameters."""
    return wide_resnet(depth=22, width=8, **options)


@register
def wide_resnet16_8(**options) -> Network:
    """Wide ResNet 16-8: 10,961,370 parameters."""
    return wide_resnet(depth=16, width=8, **options)


@register
def wide_resnet16_4(**options) -> Network:
    """Wide ResNet 16-4: 2,748,890 parameters."""
    return wide_resnet(depth=16, width=4, **options)
