"""ResNet-50 to ConvNeXt-T in twelve steps, each a switch of one network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from timm.layers import LayerNorm2d, LayerScale2d
from torch import nn

from modules.backbones.classics.blocks import Init, Residual, convolution, initialize
from modules.backbones.classics.classifiers import Pooled
from modules.backbones.classics.network import Network, register
from modules.contracts import ConfigError, Features, check_range, suggest


class Switches(NamedTuple):
    """Design decisions in the order of the paper; none is ResNet-50, all are ConvNeXt-T.

    Attributes:
        stage_ratio: 3, 3, 9 and 3 blocks in place of 3, 4, 6 and 3.
        patchify: a stem of one 4x4 convolution with stride 4 in place of 7x7 with stride 2 and a max-pool.
        depthwise: 3x3 convolutions of each channel alone.
        width: 96 channels in the first stage in place of 64.
        inverted_bottleneck: the inner convolution has 4 times the channels of the block, not a quarter.
        depthwise_first: the spatial convolution precedes both 1x1, on fewer channels.
        kernel_7: 7x7 in place of 3x3.
        gelu: in place of ReLU.
        fewer_activations: one per block, between the 1x1 convolutions; the stem has none.
        fewer_norms: one per block, behind the spatial convolution.
        layer_norm: in place of batch norm; convolutions before it keep their bias.
        separate_downsampling: norm and a 2x2 convolution with stride 2 between stages, a norm on the pooled features,
            and layer scale.
    """

    stage_ratio: bool
    patchify: bool
    depthwise: bool
    width: bool
    inverted_bottleneck: bool
    depthwise_first: bool
    kernel_7: bool
    gelu: bool
    fewer_activations: bool
    fewer_norms: bool
    layer_norm: bool
    separate_downsampling: bool


@register
def convnext_steps(
    step: int = 12,
    switches: dict[str, bool] | None = None,
    num_classes: int = 1000,
    in_chans: int = 3,
    depths: Sequence[int] | None = None,
    width: int | None = None,
    patch_size: int = 4,
    drop_path_rate: float = 0.0,
    layer_scale: float = 1e-6,
    init: Init | None = None,
) -> Network:
    """ResNet-50 modernized to ConvNeXt-T, step by step (Liu et al. 2022, "A ConvNet for the 2020s", figure 2).

    25,557,032 parameters and 4.09 GMACs at step 0, where it is torchvision's `resnet50`; 28,589,128 and 4.46 at step
    12, where it is timm's `convnext_tiny`. The step is an option: `--model.backbone Timm --model.backbone.name
    convnext_steps --model.backbone.options "{step: 7}"`.

    Args:
        step: how many of the `Switches` are on, in their order, 0..12.
        switches: `{NAME: false}` turns one of them off or on, whatever the step says.
        num_classes: 0 for none.
        in_chans: channels of the images.
        depths: blocks of each stage; null takes those of the switch `stage_ratio`.
        width: of the first stage; null takes that of the switch `width`.
        patch_size: kernel and stride of the patchify stem; 1 or 2 for small images.
        drop_path_rate: probability of leaving out the last block in training, falling to 0 at the first, 0..1.
        layer_scale: first value of the factors of each branch's channels, with `separate_downsampling`.
        init: see `initialize`; null takes `kaiming` while every convolution has its norm, else `gaussian` of 0.02.

    Raises:
        ConfigError: a step out of range, a switch that does not exist, or patch_size without patchify.
    """
    on = _switches(step, switches)
    check_range("backbone.options.layer_scale", layer_scale, high=1)
    if patch_size < 1 or (patch_size != 4 and not on.patchify):
        raise ConfigError(
            f"options.patch_size of convnext_steps is {patch_size}, but it is 1 or more, and there are no patches "
            f"before step 2: leave it out"
        )
    depths, width = depths or ((3, 3, 9, 3) if on.stage_ratio else (3, 4, 6, 3)), width or (96 if on.width else 64)
    make = _Block(on, layer_scale)
    rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
    stages, inputs, stride = [_stem(make, in_chans, width, patch_size)], width, patch_size if on.patchify else 4
    channels, strides = [width], [stride if on.patchify else 2]
    for index, depth in enumerate(depths):
        outputs = width * 2**index * (1 if on.inverted_bottleneck else 4)
        stages.append(make.stage(inputs, outputs, index > 0, [next(rates) for _ in range(depth)]))
        inputs, channels, strides = outputs, [*channels, outputs], [*strides, stride * 2**index]
    head = Pooled(inputs, num_classes, norm=make.norm(inputs) if on.separate_downsampling else None)
    pool, size = None if on.patchify else nn.MaxPool2d(3, 2, padding=1), (in_chans, 224, 224)
    smallest = strides[-1] if on.separate_downsampling else patch_size if on.patchify else 1
    net = Network(stages, Features(channels, strides), head, pool, input_size=size, smallest=smallest)
    initialize(net, init or ("gaussian" if on.fewer_norms else "kaiming"), std=0.02)
    return net


def _switches(step: int, chosen: dict[str, bool] | None) -> Switches:
    names = Switches._fields
    if not isinstance(step, int) or not 0 <= step <= len(names):
        raise ConfigError(
            f"options.step of convnext_steps is {step}, but it is 0 (ResNet-50) to {len(names)} (ConvNeXt-T)"
        )
    for name in chosen or {}:
        if name not in names:
            raise ConfigError(
                f"options.switches of convnext_steps has no {name!r}{suggest(name, list(names))}: they are "
                f"{', '.join(names)}"
            )
    return Switches(**{name: place < step for place, name in enumerate(names)} | (chosen or {}))


def _stem(make: "_Block", in_chans: int, width: int, patch_size: int) -> nn.Sequential:
    """The first stage: one convolution, with norm, and activation unless there are fewer of these."""
    act = not make.on.fewer_activations
    kernel, stride, padding = (patch_size, patch_size, 0) if make.on.patchify else (7, 2, 3)
    return nn.Sequential(make.layer(in_chans, width, kernel, stride, padding=padding, activates=act))


class _Block:
    """Makes the layers and residual blocks of one network.

    Args:
        on: switches of the network.
        scale: first value of layer scale.
    """

    def __init__(self, on: Switches, scale: float):
        self.on, self.scale = on, scale
        self.norms, self.activation = "layernorm2d" if on.layer_norm else "batchnorm", "gelu" if on.gelu else "relu"

    def norm(self, channels: int) -> nn.Module:
        return LayerNorm2d(channels) if self.on.layer_norm else nn.BatchNorm2d(channels)

    def layer(
        self, inputs: int, outputs: int, *sizes: int, normed: bool = True, activates: bool = False, **options: Any
    ) -> nn.Sequential:
        options |= dict(zip(("kernel", "stride"), sizes, strict=True))
        options |= {"norm": self.norms if normed else None, "activation": self.activation if activates else None}
        return convolution(inputs, outputs, bias=not normed or self.on.layer_norm, **options)

    def stage(self, inputs: int, outputs: int, strided: bool, rates: list[float]) -> nn.Sequential:
        """As many residual blocks as `rates`, of drop path; `strided` halves the map before or in the first of them."""
        layers: list[nn.Module] = []
        if strided and self.on.separate_downsampling:
            layers, inputs, strided = [self.norm(inputs), nn.Conv2d(inputs, outputs, 2, 2)], outputs, False
        for place, rate in enumerate(rates):
            layers.append(self(outputs if place else inputs, outputs, 1 if place or not strided else 2, rate))
        return nn.Sequential(*layers)

    def __call__(self, inputs: int, outputs: int, stride: int, drop_path: float) -> Residual:
        on = self.on
        hidden = outputs * 4 if on.inverted_bottleneck else outputs // 4
        widths = [inputs, inputs if on.depthwise_first else hidden, hidden, outputs]
        layers: list[nn.Module] = []
        for place, (before, after) in enumerate(pairwise(widths)):
            spatial = place == (0 if on.depthwise_first else 1)
            kernel, step, groups = 1, 1, 1
            if spatial:
                kernel, step, groups = 7 if on.kernel_7 else 3, stride, before if on.depthwise else 1
            normed, activates = spatial or not on.fewer_norms, place == 1 or (place == 0 and not on.fewer_activations)
            layers.append(self.layer(before, after, kernel, step, groups=groups, normed=normed, activates=activates))
        if on.separate_downsampling and self.scale:
            layers.append(LayerScale2d(outputs, self.scale))
        shortcut = None if inputs == outputs and stride == 1 else self.layer(inputs, outputs, 1, stride)
        last = None if on.fewer_activations else self.activation
        return Residual(nn.Sequential(*layers), shortcut, last, drop_path=drop_path)
