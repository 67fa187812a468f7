"""Wide ResNets: few layers, many channels."""

from timm.layers import create_attn
from torch import Tensor, nn
from torch.nn import functional

from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class WideBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU, with dropout between them, and what went in added.

    Where stride or channels change, a 1x1 convolution of what the first ReLU gives is added instead.

    Args:
        inputs: channels of the map.
        outputs: channels of the result.
        stride: of the first convolution.
        dropout: share of values that are set to 0 in training, 0..1.
        attention: timm's name of an attention layer that ends the branch, such as `se`; null is none.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dropout: float = 0.0, attention: str | None = None):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.attention = create_attn(attention, outputs) or nn.Identity()
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = functional.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(active)
        x = functional.relu(self.norm2(self.conv1(active)))
        return shortcut + self.attention(self.conv2(self.dropout(x)))


@register
def wide_resnet(
    depth: int = 28,
    width: int = 10,
    num_classes: int = 10,
    in_chans: int = 3,
    dropout: float = 0.0,
    attention: str | None = None,
) -> Network:
    """Zagoruyko and Komodakis 2016, "Wide residual networks": d-k, for pictures of about 32 pixels.

    Pre-activation; (d - 4) / 6 blocks at each of the strides 1, 2 and 4. 28-10 has 36,479,194 parameters.

    Args:
        depth: layers with weights, d: 10, 16, 22, 28, 34, 40, ...
        width: k; the stages have 16 k, 32 k and 64 k channels.
        num_classes: number of logits.
        in_chans: channels of the pictures.
        dropout: between the convolutions of a block; the paper takes 0.3 on CIFAR and 0.4 on SVHN.
        attention: see `WideBlock`.

    Raises:
        ConfigError: a depth that three equal stages cannot have.
    """
    blocks, rest = divmod(depth - 4, 6)
    if blocks < 1 or rest:
        raise ConfigError(f"a wide ResNet has 6 n + 4 layers, not {depth}: set depth to 10, 16, 22, 28, 34 or 40")
    channels = [16 * width, 32 * width, 64 * width]
    stages, inputs = [], 16
    for outputs, stride in zip(channels, (1, 2, 2), strict=True):
        stage = nn.Sequential()
        for index in range(blocks):
            stage.append(WideBlock(inputs, outputs, stride if index == 0 else 1, dropout, attention))
            inputs = outputs
        stages.append(stage)
    stages[0].insert(0, nn.Conv2d(in_chans, 16, 3, padding=1, bias=False))
    stages[-1].extend([nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)])
    head = Pooled(inputs, num_classes)
    return Network(stages, Features(channels, [1, 2, 4]), head, input_size=(in_chans, 32, 32))


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
