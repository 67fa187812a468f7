"""SqueezeNet with the bypasses of its paper, which torchvision's lacks."""

from functools import partial
from typing import Literal

from torch import Tensor, nn
from torchvision.models.squeezenet import Fire

from modules.backbones.classics.blocks import Init, activation_layer, initialize
from modules.backbones.classics.classifiers import Dense
from modules.backbones.classics.network import Network, register
from modules.contracts import Features

WIDTHS = (96, 128, 128, 256, 256, 384, 384, 512, 512)  # after the first convolution and each of the eight Fire modules


class BypassedFire(Fire):
    """Fire module with a bypass: its input is added, through a 1x1 convolution where channels change.

    Args:
        inputs: channels of the map.
        outputs: channels of the result; an eighth of them is squeezed into.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs // 8, outputs // 2, outputs // 2)
        self.bypass = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.bypass(x) + super().forward(x)


@register
def squeezenet_bypass(
    bypass: Literal["none", "simple", "complex"] = "simple",
    num_classes: int = 1000,
    in_chans: int = 3,
    dropout: float = 0.5,
    activation: str = "relu",
    init: Init = "kaiming",
) -> Network:
    """Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters": version 1.0 with bypasses.

    Maps are as large as those of torchvision's `squeezenet1_0`: images of 224 pixels give 109, 54, 27 and 13 cells.

    Args:
        bypass: `simple` adds what goes into the Fire modules 3, 5, 7 and 9, which keep the number of channels;
            `complex` also what goes into the others, through 1x1 convolutions; `none` is torchvision's network.
        num_classes: number of logits.
        in_chans: channels of the images.
        dropout: before the last convolution.
        activation: of all layers, by timm's names, such as `relu` or `silu`; norms it has none.
        init: see `initialize`; the last convolution starts near 0.
    """
    act = partial(activation_layer(activation), inplace=True)

    def fire(number: int) -> Fire:
        inputs, outputs = WIDTHS[number - 2], WIDTHS[number - 1]
        bypassed = bypass == "complex" or (bypass == "simple" and inputs == outputs)
        made = BypassedFire(inputs, outputs) if bypassed else Fire(inputs, outputs // 8, outputs // 2, outputs // 2)
        made.squeeze_activation, made.expand1x1_activation, made.expand3x3_activation = act(), act(), act()
        return made

    def pool() -> nn.MaxPool2d:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    stages = [
        nn.Sequential(nn.Conv2d(in_chans, WIDTHS[0], 7, 2), act()),
        nn.Sequential(*map(fire, (2, 3, 4))),
        nn.Sequential(pool(), *map(fire, (5, 6, 7, 8))),
        nn.Sequential(pool(), fire(9)),
    ]
    features, size = Features([96, 256, 512, 512], [2, 4, 8, 16]), (in_chans, 224, 224)
    last = nn.Conv2d(WIDTHS[-1], num_classes, 1) if num_classes else None
    head = Dense(nn.Dropout(dropout), last, act()) if last else None
    net = Network(stages, features, head, maxpool=pool(), input_size=size, smallest=21)
    initialize(net, init)
    if last:
        nn.init.normal_(last.weight, std=0.01)
    return net


@register
def squeezenet_complex_bypass(**options) -> Network:
    """SqueezeNet 1.0 with a bypass around every Fire module; takes the options of `squeezenet_bypass`."""
    return squeezenet_bypass(bypass="complex", **options)
