"""Stem of a network: adaptation to small images, to gray images, and a workaround for strided 1x1 convolutions."""

from functools import partial

import torch
from torch import Tensor, nn

from modules.contracts import ConfigError


def shrink_stem(net: nn.Module, name: str) -> int:
    """Adapt the stem to small images: 3x3 convolution with stride 1, no max-pool after it.

    Returns:
        Factor by which all strides shrink, 2 or 4.

    Raises:
        ConfigError: it does not start with a convolution of stride 2.
    """
    path, first = next(((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if first is None or first.stride[0] != 2:
        raise ConfigError(f"small_images needs a model that starts with a convolution of stride 2; {name} does not")
    fresh = nn.Conv2d(first.in_channels, first.out_channels, 3, 1, 1, bias=first.bias is not None)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    for layer in net.modules():  # RepVGG has two convolutions of the image
        if isinstance(layer, nn.Conv2d) and layer.in_channels == first.in_channels:
            layer.stride = (1, 1)
    net.set_submodule(path, fresh)
    if not isinstance(getattr(net, "maxpool", None), nn.MaxPool2d):
        return 2
    net.maxpool = nn.Identity()
    return 4


@torch.no_grad()
def see_gray(net: nn.Module, channels: int = 3) -> None:
    """Average the weights of every convolution of the image over the channels.

    Outputs for gray images stay the same, colored ones are treated as gray. Training on gray images keeps this.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == channels and layer.groups == 1:
            layer.weight.copy_(layer.weight.mean(1, keepdim=True).expand_as(layer.weight))


def spare_strided_points(net: nn.Module) -> None:
    """Replace strided 1x1 convolutions of images, as in RepVGG, by subsampling before them, which is equal.

    With channels last, torch 2.14 on a CPU writes outside of its memory in their gradient.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) != layer.stride and layer.in_channels < 16:
            layer.register_forward_pre_hook(partial(_thin_out, layer.stride))
            layer.stride = (1, 1)


def _thin_out(steps: tuple[int, int], layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return inputs[0][..., :: steps[0], :: steps[1]]
