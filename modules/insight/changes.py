"""Convolutions that compute only what a change of the input reaches (Nakandala et al. 2019, Krypton)."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

LARGE = 0.7
"""Share of the output from which on all of it is computed anew."""

FEW = 4
"""Channels that are faster compared one by one."""

Places = tuple[slice, slice]


@contextmanager
def only_changes(network: nn.Module | None, first: Callable[[], Tensor]) -> Iterator[Tensor]:
    """Inside, convolutions take from a first pass what a change of the input does not reach.

    Each compares its input with that of the first pass, computes its output around the difference, and copies the rest:
    the outputs of any network are the same but for rounding. Windows of occlusion change little of the first layers,
    where most of the time goes.

    Args:
        network: in eval mode; null, or a network without two-dimensional convolutions, computes as ever.
        first: runs it on a single image, without gradients.

    Yields:
        What `first` returned.
    """
    layers: list[Any] = [one for one in network.modules() if _simple(one)] if network is not None else []
    known: dict[tuple[int, torch.Size], tuple[Tensor, Tensor]] = {}

    def record(layer: nn.Conv2d, image: Tensor) -> Tensor:
        output = layer._conv_forward(image, layer.weight, layer.bias)
        if len(image) == 1:
            known[id(layer), image.shape[1:]] = image.clone(), output.clone()  # which layers behind may overwrite
        return output

    def reuse(layer: nn.Conv2d, image: Tensor) -> Tensor:
        found = known.get((id(layer), image.shape[1:]))
        output = None if found is None else changed(layer, image, *found)
        return layer._conv_forward(image, layer.weight, layer.bias) if output is None else output

    try:
        for layer in layers:
            layer.forward = partial(record, layer)
        found = first()
        for layer in layers:
            layer.forward = partial(reuse, layer)
        yield found
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _simple(layer: nn.Module) -> bool:
    return type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def changed(layer: nn.Conv2d, image: Tensor, before: Tensor, output: Tensor) -> Tensor | None:
    """Output of a convolution for images (N, C, H, W) that differ from one in a part; null where that part is large.

    Args:
        layer: with zeros as padding.
        image: inputs.
        before: that one, (1, C, H, W).
        output: of it, (1, D, h, w).
    """
    differs = _differs(image.permute(0, 2, 3, 1), before.permute(0, 2, 3, 1))
    sides = [_reached(differs.any(2 - axis), layer, axis, output.shape[2 + axis]) for axis in (0, 1)]
    if math.prod(count for _, count in sides) > LARGE * output[0, 0].numel():
        return None
    crops = [_crop(starts, count, layer, axis, image.shape[2 + axis]) for axis, (starts, count) in enumerate(sides)]
    (rows, height), (columns, width) = crops
    part = torch.zeros(len(image), height, width, image.shape[1], dtype=image.dtype, device=image.device)
    part = part.permute(0, 3, 1, 2)  # channels last
    for one, piece, (down, here), (right, there) in zip(image, part, rows, columns, strict=True):
        piece[:, here, there] = one[:, down, right]
    found = conv2d(part, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)
    whole = output.expand(len(image), -1, -1, -1).clone(memory_format=torch.channels_last)
    (tops, height), (lefts, width) = sides
    for one, piece, top, left in zip(whole, found, tops, lefts, strict=True):
        one[:, top : top + height, left : left + width] = piece
    return whole


def _differs(images: Tensor, before: Tensor) -> Tensor:
    """Cells (N, H, W) in which images (N, H, W, C) differ from one."""
    if images.shape[3] <= FEW:
        return reduce(torch.logical_or, (images[..., i] != before[..., i] for i in range(images.shape[3])))
    return (images != before).any(3)


def _reached(differs: Tensor, layer: nn.Conv2d, axis: int, length: int) -> tuple[list[int], int]:
    """First output of each image that a difference reaches, and how many the widest of them has.

    Args:
        differs: bool (N, H) of the rows or (N, W) of the columns.
        layer: the convolution.
        axis: 0 for rows, 1 for columns.
        length: of the output.
    """
    step, border = layer.stride[axis], int(layer.padding[axis])
    reach = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
    flags = differs.int()
    starts, ends = flags.argmax(1), differs.shape[1] - 1 - flags.flip(1).argmax(1)
    low = (-((reach - border - starts) // step)).clamp(0, length - 1)  # rounded up
    high = ((ends + border) // step).clamp(0, length - 1)
    none = ~differs.any(1)
    low, high = low.where(~none, 0), high.where(~none, 0)
    size = max(0, int((high - low).max())) + 1
    return low.clamp(max=length - size).tolist(), size


def _crop(starts: list[int], count: int, layer: nn.Conv2d, axis: int, length: int) -> tuple[list[Places], int]:
    """Places in the input, and in a crop of it padded with zeros, that outputs need; and the length of the crop.

    Args:
        starts: first output of each image.
        count: outputs of each.
        layer: the convolution.
        axis: 0 for rows, 1 for columns.
        length: of the input.
    """
    step, border = layer.stride[axis], int(layer.padding[axis])
    size = (count - 1) * step + layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
    places = []
    for first in (start * step - border for start in starts):
        inside = slice(max(first, 0), min(first + size, length))
        places.append((inside, slice(inside.start - first, inside.stop - first)))
    return places, size
