"""Batch norm folding and reparameterization for inference: fewer layers, the same outputs."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from timm.layers.conv2d_same import Conv2dSame
from timm.utils import reparameterize_model
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

from modules.backbones.lora import merged
from modules.contracts import Backbone

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, Conv2dSame)  # exactly these: others compute their weights on the way
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d, BatchNormAct2d)


def folded(backbone: Backbone) -> Backbone:
    """A copy for inference: batch norms folded into the convolutions before them, RepVGG and its kin reparameterized.

    The outputs are those in eval mode, but for rounding; it can be neither trained nor saved as a backbone.

    Args:
        backbone: stays as it is.
    """
    backbone = merged(backbone).eval().requires_grad_(False)
    backbone.net = reparameterize_model(backbone.net, inplace=True)
    for convolution, norm in _pairs(backbone):
        _fold(backbone, convolution, norm)
    return backbone


class Flow(TorchFunctionMode):
    """Counter of the uses of every tensor as an argument; it keeps them, so that no two share their id."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter[int] = Counter()
        self.kept: list[Tensor] = []

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors = [x for x in _flat((args, kwargs or {})) if isinstance(x, Tensor)]
        self.kept += tensors
        if getattr(func, "__name__", "") not in ("__get__", "size", "dim", "is_floating_point"):
            self.uses.update({id(tensor) for tensor in tensors})
        return func(*args, **(kwargs or {}))


def _pairs(backbone: Backbone) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that alone use their output, seen on an image without numbers."""
    blank = deepcopy(backbone).to("meta")
    made: dict[int, str] = {}  # id of an output -> the convolution
    taken: dict[str, tuple[int, str]] = {}  # convolution -> id of its output, batch norm that takes it
    runs: Counter[str] = Counter()
    flow = Flow()

    def after(name: str) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] += 1
            flow.kept.append(output)
            if type(module) in CONVOLUTIONS:
                made[id(output)] = name
            elif id(inputs[0]) in made and module.track_running_stats:
                taken[made[id(inputs[0])]] = id(inputs[0]), name

        return hook

    for name, module in blank.named_modules():
        if type(module) in CONVOLUTIONS + NORMS:
            module.register_forward_hook(after(name))
    height, width = blank.config.get("input_size", (3, 224, 224))[1:]
    frames = (16,) if backbone.temporal else ()
    with flow, torch.no_grad():
        maps = blank(torch.empty(1, backbone.in_channels, *frames, height, width, device="meta"))
        if backbone.pools:
            blank.pool(maps)
    flow.uses.update(map(id, maps))
    once = {name for name, count in runs.items() if count == 1}
    return [(conv, norm) for conv, (output, norm) in taken.items() if {conv, norm} <= once and flow.uses[output] == 1]


def _fold(backbone: Backbone, convolution: str, norm: str) -> None:
    conv, bn = backbone.get_submodule(convolution), backbone.get_submodule(norm)
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    backbone.set_submodule(norm, bn.act if isinstance(bn, BatchNormAct2d) else nn.Identity())


def _flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return _flat(list(value.values()))
    if isinstance(value, list | tuple):
        return [x for each in value for x in _flat(each)]
    return [value]
