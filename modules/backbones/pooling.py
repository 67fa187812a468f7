"""Fractional max pooling in place of the max pooling of any network."""

import math

import torch
from torch import Tensor, nn

from modules.contracts import Backbone, ConfigError


class FractionalMaxPool(nn.Module):
    """Two fractional max poolings of ratio sqrt(2) in place of one max pooling of stride 2 (Graham 2014).

    Graham's networks shrink by sqrt(2) between convolutions; here both steps stand where the max pooling was, so that
    maps keep their sizes and strides. The regions, 2 x 2 cells that overlap, are drawn for each image in training. In
    evaluation they are always the same ones, so that answers repeat and can be exported.

    Args:
        pool: max pooling of stride 2 or 3 whose sizes are kept; of stride 3 the ratio is sqrt(3).
    """

    def __init__(self, pool: nn.MaxPool2d):
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to what the max pooling gives, such as (B, C, H / 2, W / 2)."""
        before = (x.shape[-2], x.shape[-1])
        height, width = self.pool(torch.empty(1, 1, *before, device="meta")).shape[-2:]
        middle = [round(math.sqrt(a * b)) for a, b in zip(before, (height, width), strict=True)]
        return self._shrink(self._shrink(x, *middle), height, width)

    def _shrink(self, x: Tensor, height: int, width: int) -> Tensor:
        for dim, cells in ((2, height), (3, width)):
            if x.shape[dim] > cells:
                draw = torch.rand if self.training else _half
                x = pool_axis(x, dim, regions(x.shape[dim], cells, draw(x.shape[0], device=x.device)))
        return x


def regions(inputs: int, outputs: int, samples: Tensor) -> Tensor:
    """First cells (B, outputs), int64, of regions of two cells each, as torch's FractionalMaxPool2d computes them.

    Args:
        inputs: cells along the axis, more than `outputs`.
        outputs: number of regions.
        samples: random numbers (B,) in [0, 1).
    """
    last = torch.full((samples.shape[0], 1), inputs - 2, device=samples.device)
    if outputs == 1:
        return last
    ratio, sample = (inputs - 2) / (outputs - 1), samples[:, None]
    first = ((torch.arange(outputs - 1, device=samples.device) + sample) * ratio).long() - (sample * ratio).long()
    return torch.cat([first, last], 1)


def pool_axis(x: Tensor, dim: int, first: Tensor) -> Tensor:
    """Maximum of each two neighbors of maps (B, C, H, W) along the axis `dim`, from the cells `first` (B, N) on."""
    shape = [x.shape[0], 1, 1, 1]
    shape[dim] = first.shape[1]
    sizes = [*x.shape]
    sizes[dim] = first.shape[1]
    index = first.view(shape).expand(sizes)
    return torch.maximum(x.gather(dim, index), x.gather(dim, index + 1))


def use_fractional_pooling(backbone: Backbone) -> None:
    """Put `FractionalMaxPool` in place of every max pooling of stride 2 or 3; tensors keep their names.

    Raises:
        ConfigError: there is none.
    """
    found = {
        path: layer
        for path, layer in backbone.net.named_modules(remove_duplicate=False)
        if isinstance(layer, nn.MaxPool2d) and layer.stride in (2, 3, (2, 2), (3, 3))
    }
    if not found:
        small = " with small_images" if backbone.small_images else ""
        raise ConfigError(
            f"model.pooling is fractional, but {backbone.name}{small} has no max pooling of images by 2 or 3: leave it "
            f"out, or choose a network that has, such as resnet18 or vgg11"
        )
    for path, layer in found.items():
        backbone.net.set_submodule(path, FractionalMaxPool(layer))
    backbone.mark_changed(pooling="fractional")


def _half(count: int, device: torch.device) -> Tensor:
    return torch.full((count,), 0.5, device=device)
