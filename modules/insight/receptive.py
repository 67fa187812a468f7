"""Receptive fields: size for each map of a backbone, and place for cells of any layer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from modules.backbones.reach import survey
from modules.contracts import Backbone

WIDTHS = (512, 4096)  # of the trial images, in pixels
STRAIGHT = {"relu", "relu6", "hardtanh", "hardswish", "hardsigmoid", "leaky_relu", "clamp"}


class Linear(TorchFunctionMode):
    """Linear stand-ins for nonlinear layers.

    Activations become the identity, max-pooling becomes average pooling, so that every pixel in the receptive field has
    a gradient.
    """

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if name in STRAIGHT:
            return args[0]
        if name == "max_pool2d":
            sizes = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), args[1:], strict=False))
            sizes |= {key: value for key, value in kwargs.items() if key in ("stride", "padding", "ceil_mode")}
            sizes.pop("dilation", None)
            return functional.avg_pool2d(args[0], **sizes)
        return func(*args, **kwargs)


def receptive_fields(backbone: Backbone, height: int, exact: bool = False) -> list[int | None]:
    """Receptive field of a cell of each map: side of the square in pixels, or null for the whole image.

    Computed as the width over which the middle cell has a gradient, on wide images, in float64 so that what is far
    away does not vanish. Global attention, squeeze-and-excitation and group norm see everything.

    Args:
        backbone: for images; its parameters are overwritten, and those that no map depends on are emptied.
        height: of the trial images, which the backbone must take.
        exact: it takes squares of that side only.
    """
    _empty_unused(backbone)
    backbone, generator = backbone.double().eval(), torch.Generator().manual_seed(0)
    _randomize(backbone, generator)
    found: list[int | None] = [None] * len(backbone.features.strides)
    for width in (height,) if exact else WIDTHS:
        if None not in found:
            break
        image = torch.rand(1, backbone.in_channels, height, width, generator=generator, dtype=torch.float64)
        image.requires_grad_()
        with Linear():
            maps = backbone(image)
        for level, cells in enumerate(maps):
            if found[level] is None:
                found[level] = _extent(cells, image, last=level == len(maps) - 1)
    return found


@torch.no_grad()
def _empty_unused(backbone: Backbone) -> None:
    """Empty the parameters that no map depends on: those of AlexNet and VGG behind the maps are most of the network."""
    used = set.union(*survey(backbone).maps)
    for name, parameter in backbone.net.named_parameters():
        if name not in used:
            parameter.set_(torch.UntypedStorage())


def _extent(cells: torch.Tensor, image: torch.Tensor, last: bool) -> int | None:
    middle = cells[0, :, cells.shape[2] // 2, cells.shape[3] // 2]
    (gradient,) = torch.autograd.grad(middle.square().sum(), image, retain_graph=not last)
    columns = gradient.abs().sum((0, 1, 2)).nonzero().flatten()
    first, end = int(columns[0]), int(columns[-1])
    return None if first == 0 or end == image.shape[3] - 1 else end - first + 1


def receptive_boxes(
    run: Callable[[Tensor], Tensor], network: nn.Module, image: Tensor, cells: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int]]:
    """Receptive field of cells of a layer in an image: left, top, right and bottom in pixels, the last two beyond it.

    Args:
        run: input of the network (B, C, H, W) to maps (B, D, h, w) of the layer, through `network`.
        network: has random weights while it runs, and its own again afterward.
        image: any input, (1, C, H, W).
        cells: row and column in the maps.
    """
    boxes = []
    with _with_random_weights(network), Linear():
        for start in range(0, len(cells), 16):
            some = cells[start : start + 16]
            inputs = torch.rand(len(some), *image.shape[1:], dtype=torch.float64, device=image.device).requires_grad_()
            maps = run(inputs)
            total = torch.stack([maps[i, :, row, column] for i, (row, column) in enumerate(some)]).square().sum()
            (gradient,) = torch.autograd.grad(total, inputs)
            for seen in gradient.abs().sum(1) > 0:
                columns, rows = seen.any(0).nonzero().flatten().tolist(), seen.any(1).nonzero().flatten().tolist()
                boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return boxes


@contextmanager
def _with_random_weights(network: nn.Module) -> Iterator[None]:
    """Context manager in which a network has random weights in float64, and is in eval mode."""
    saved, training = deepcopy(network.state_dict()), network.training
    kinds = {tensor.dtype for tensor in network.parameters()}
    try:
        network.double().eval()
        _randomize(network, torch.Generator().manual_seed(0))
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        network.to(next(iter(kinds), torch.float32)).train(training)
        network.load_state_dict(saved)


@torch.no_grad()
def _randomize(network: nn.Module, generator: torch.Generator) -> None:
    """Random weights, none of them zero; those of a vector, such as scales, about 1."""
    for parameter in network.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 1
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        parameter.copy_(values / fan**0.5 if parameter.ndim > 1 else 1 + 0.1 * values)
