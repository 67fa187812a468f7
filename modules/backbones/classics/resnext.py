"""ResNeXt in its three equivalent forms."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from modules.backbones.classics.blocks import Init, Parallel, Residual, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features, check_sizes

Form = Literal["branches", "concatenated", "grouped"]


class Summed(nn.ModuleList):
    """Parallel branches over the same map, their outputs added up."""

    def forward(self, x: Tensor) -> Tensor:
        total = self[0](x)
        for branch in list(self)[1:]:
            total = total + branch(x)
        return total


@register
def resnext_forms(
    form: Form = "grouped",
    cardinality: int = 32,
    width: int = 4,
    depths: Sequence[int] = (3, 4, 6, 3),
    num_classes: int = 1000,
    in_chans: int = 3,
    activation: str = "relu",
    init: Init = "kaiming",
    drop_path_rate: float = 0.0,
) -> Network:
    """ResNeXt-50 (Xie et al. 2017, "Aggregated residual transformations for deep neural networks", figure 3).

    25,028,904 parameters in every form. The forms compute the same function; `grouped` is timm's `resnext50_32x4d`, and
    the fastest, as it is three convolutions per block in place of up to 96.

    Args:
        form: `branches` splits, transforms and merges: the sum of `cardinality` bottlenecks of 1x1, 3x3 and 1x1;
            `concatenated` concatenates their 3x3 maps before one common 1x1; `grouped` is one bottleneck with a grouped
            3x3 convolution.
        cardinality: number of branches, or groups.
        width: channels of each branch in the first stage.
        depths: blocks of each stage.
        num_classes: 0 for none.
        in_chans: channels of the images.
        activation: by timm's name.
        init: see `initialize`.
        drop_path_rate: probability of leaving out the last block in training, falling to 0 at the first, 0..1.

    Raises:
        ConfigError: a form that is none of these.
    """
    if form not in FORMS:
        raise ConfigError(f"options.form of resnext_forms is {form!r}, but it is one of {', '.join(FORMS)}")
    check_sizes("backbone.options", cardinality=cardinality, width=width)
    layer = partial(convolution, activation=activation)
    rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
    stages, channels, inputs = [nn.Sequential(layer(in_chans, 64, 7, 2))], [64], 64
    for index, depth in enumerate(depths):
        outputs, blocks = 256 * 2**index, []
        for place in range(depth):
            stride = 2 if place == 0 and index else 1
            branch = FORMS[form](layer, inputs, outputs, cardinality, width * 2**index, stride)
            around = None if inputs == outputs else convolution(inputs, outputs, 1, stride, activation=None)
            blocks.append(Residual(branch, around, activation, drop_path=next(rates)))
            inputs = outputs
        stages.append(nn.Sequential(*blocks))
        channels.append(inputs)
    features = Features(channels, [2, *(4 * 2**index for index in range(len(depths)))])
    pool, size = nn.MaxPool2d(3, 2, padding=1), (in_chans, 224, 224)
    net = Network(stages, features, Pooled(inputs, num_classes), pool, input_size=size)
    initialize(net, init)
    return net


def _branches(
    layer: partial[nn.Sequential], inputs: int, outputs: int, count: int, width: int, stride: int
) -> nn.Sequential:
    one = [
        nn.Sequential(*_narrow(layer, inputs, width, stride), nn.Conv2d(width, outputs, 1, bias=False))
        for _ in range(count)
    ]
    return nn.Sequential(Summed(one), nn.BatchNorm2d(outputs))


def _concatenated(
    layer: partial[nn.Sequential], inputs: int, outputs: int, count: int, width: int, stride: int
) -> nn.Sequential:
    together = Parallel([_narrow(layer, inputs, width, stride) for _ in range(count)])
    return nn.Sequential(together, layer(count * width, outputs, 1, activation=None))


def _grouped(
    layer: partial[nn.Sequential], inputs: int, outputs: int, count: int, width: int, stride: int
) -> nn.Sequential:
    whole = _narrow(layer, inputs, count * width, stride, groups=count)
    return nn.Sequential(*whole, layer(count * width, outputs, 1, activation=None))


def _narrow(layer: partial[nn.Sequential], inputs: int, width: int, stride: int, groups: int = 1) -> nn.Sequential:
    """The first two layers of a bottleneck."""
    return nn.Sequential(layer(inputs, width, 1), layer(width, width, 3, stride, groups=groups))


FORMS = {"branches": _branches, "concatenated": _concatenated, "grouped": _grouped}
"""Builders of the branch of a residual block: (layer, inputs, outputs, cardinality, width, stride)."""
