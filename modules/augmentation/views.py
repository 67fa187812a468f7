"""On-device batch augmentation: views by crop, flip, color jitter, grayscale and blur.

Each operation is what albumentations 2.0.8 does to one uint8 image, its roundings included, but with numbers of its
own for every image of the batch. Kornia has no such jitter: its order of operations is one for the whole batch, and
its random numbers come from torch's global generator.

Between two operations images are float32 (N, 3, H, W) of whole numbers 0..255. Sums of those are exact in any order,
so a view is the same bits in whatever batch it is made.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, one_hot

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
NEUTRAL = (1.0, 1.0, 1.0, 0.0)  # factors that change nothing
WEIGHTS = (9798, 19235, 3735)  # of red, green and blue in gray, in 1/32768, as OpenCV has them
STEPS = 2048  # to 1.0 in the weights of a blur: products with 0..255 stay exact, in TF32 too
LARGEST = 2**25  # floats of the views that are made in one go


class ViewParameters(NamedTuple):
    """Random parameters of N augmented views: the columns of one float32 array, in this order.

    Args:
        box: corners x0, y0, x1, y1 of the crop in whole pixels (N, 4).
        flip: 1 mirrors (N, 1).
        factors: of brightness, contrast and saturation, and turns of the hue (N, 4).
        order: indices of those four in the order of their application (N, 4).
        gray: 1 converts to grayscale (N, 1).
        sigma: of the Gaussian blur in pixels; 0 leaves the view sharp (N, 1).
    """

    box: Tensor
    flip: Tensor
    factors: Tensor
    order: Tensor
    gray: Tensor
    sigma: Tensor


WIDTHS = (4, 1, 4, 4, 1, 1)  # columns of each


def make_views(image: Tensor, parameters: Tensor, size: int) -> list[Tensor]:
    """V views of each image, uint8 (B, 3, size, size) each.

    Args:
        image: uint8 (B, 3, H, W), on the device that computes the views.
        parameters: float32 (B, V, 15), the columns of `ViewParameters`, in the host's memory, so that the host selects
            the views of each operation without waiting for the device.
        size: side of the views in pixels.
    """
    together = max(1, LARGEST // (parameters.shape[1] * 3 * size * size))
    parts = [_make(*part, size) for part in zip(image.split(together), parameters.split(together), strict=True)]
    return [view.contiguous(memory_format=torch.channels_last) for view in torch.cat(parts).unbind(1)]


def crop(image: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    """V crops of each image (B, 3, H, W) as (B * V, 3, size, size), bilinear without smoothing, as OpenCV resizes.

    Args:
        box: corners (B, V, 4).
        flip: (B, V, 1), 1 mirrors.
    """
    (count, views), (height, width) = box.shape[:2], image.shape[-2:]
    steps = (torch.arange(size, device=image.device) + 0.5) / size
    x = _places(torch.where(flip > 0, steps.flip(0), steps), box[..., 0:1], box[..., 2:3], width)
    y = _places(steps, box[..., 1:2], box[..., 3:4], height)
    shape = count, views, size, size
    grid = torch.stack([x[:, :, None].expand(shape), y[..., None].expand(shape)], dim=-1)
    # all views of an image below each other, as if they were one
    crops = grid_sample(image, grid.flatten(1, 2), padding_mode="border", align_corners=False)
    return crops.unflatten(2, (views, size)).transpose(1, 2).flatten(0, 1).add_(0.5).floor_()


def jitter(image: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Color jitter: brightness, contrast, saturation and hue of each image (N, 3, H, W), in an order of its own.

    Args:
        factors: (N, 4) as in `ViewParameters`, on the host.
        order: (N, 4), on the host.
    """
    for slot in range(4):
        kind = order[:, slot]
        factor = factors.gather(1, kind[:, None].long())[:, 0]
        image = tint(image, *_moved(image, kind, torch.where(kind == HUE, 1.0, factor)))
        turned = ((kind == HUE) & (factor != 0)).nonzero()[:, 0]
        if len(turned):
            rows, turns = _moved(image, turned, factor[turned])
            image.index_copy_(0, rows, turn_hue(image.index_select(0, rows), turns))
    return image


def tint(image: Tensor, kind: Tensor, factor: Tensor) -> Tensor:
    """Change brightness, contrast or saturation of images (N, 3, H, W) by `factor` (N,).

    By the `kind` (N,) of each, images move away from black (brightness), from their mean gray (contrast) or from their
    own gray version (saturation).
    """
    kind, factor = kind.view(-1, 1, 1, 1), factor.view(-1, 1, 1, 1)
    gray = luma(image)
    mean = gray.sum((1, 2, 3), keepdim=True, dtype=torch.int64) / gray[0].numel()
    center = torch.where(kind == SATURATION, gray, torch.where(kind == CONTRAST, mean, 0.0))
    # not in one fused step, whose rounding may depend on where in memory an image lies
    image = (image * factor).add_(center * (1 - factor))
    # albumentations rounds the one and cuts the others
    return image.add_(torch.where(kind == SATURATION, 0.5, 0.0)).clamp_(0, 255).floor_()


def turn_hue(image: Tensor, turns: Tensor) -> Tensor:
    """Hues of images (N, 3, H, W) turned by `turns` (N,) of the color circle, in OpenCV's steps of 2 degrees."""
    red, green, blue = image.unbind(1)
    top, bottom = image.amax(1), image.amin(1)
    span = top - bottom
    ahead = torch.where(top == green, blue - red + 2 * span, red - green + 4 * span)
    ahead = torch.where(top == red, green - blue, ahead)
    # 30 * ahead / span by way of a rounded quotient, as OpenCV's table has it
    hue = (ahead * (30 * 2**12 / span.clamp(min=1)).round_() + 2**11).div_(2**12).floor_()
    sector = (hue + 180 * turns.view(-1, 1, 1)).remainder_(180).floor_().div_(30)[:, None]
    peaks = torch.tensor([5.0, 3.0, 1.0], device=image.device).view(1, 3, 1, 1)  # red, green and blue begin to fall
    away = (sector + peaks).remainder_(6)
    share = torch.minimum(away, 4 - away).clamp_(0, 1)
    return (top[:, None] - span[:, None] * share).add_(0.5).floor_()


def luma(image: Tensor) -> Tensor:
    """Gray versions (N, 1, H, W) of images (N, 3, H, W)."""
    red, green, blue = image.split(1, dim=1)
    return (red * WEIGHTS[0] + green * WEIGHTS[1] + blue * WEIGHTS[2] + 2**14).div_(2**15).floor_()


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (N, 3, S, S), mirrored at the border, over 3.5 sigma to either side.

    Args:
        sigma: (N,) in pixels, on the host.
    """
    side, reach = image.shape[-1], int(3.5 * sigma.max())
    taps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2) * (taps.abs() <= (3.5 * sigma[:, None]).floor())
    weights = (weights * (STEPS / weights.sum(1, keepdim=True))).round_()
    weights[:, reach] += STEPS - weights.sum(1)
    # one matrix per image: convolutions with a kernel per image are slow, and their libraries tune every batch size
    place = (torch.arange(side)[:, None] + taps).abs()
    place = side - 1 - (side - 1 - place).abs()
    weights, place = _moved(image, weights, place)
    matrix = torch.einsum("nk,ikj->nij", weights, one_hot(place, side).to(image.dtype))
    for axes in ("nij,ncjk->ncik", "nij,nckj->ncki"):
        image = torch.einsum(axes, matrix, image).div_(STEPS).add_(0.5).floor_()
    return image


def _make(image: Tensor, parameters: Tensor, size: int) -> Tensor:
    """Views uint8 (B, V, 3, size, size) of images uint8 (B, 3, H, W)."""
    host = ViewParameters(*parameters.flatten(0, 1).split(WIDTHS, dim=1))
    box, flip = _moved(image, parameters[..., :4], parameters[..., 4:5])
    views = crop(image.float(), box, flip, size)
    if (host.factors != torch.tensor(NEUTRAL)).any():
        views = jitter(views, host.factors, host.order)
    for rows, change in (
        (host.gray[:, 0] > 0, lambda part, rows: luma(part).expand_as(part)),
        (host.sigma[:, 0] > 0, lambda part, rows: blur(part, host.sigma[rows, 0])),
    ):
        rows = rows.nonzero()[:, 0]
        if len(rows):
            (there,) = _moved(views, rows)
            views.index_copy_(0, there, change(views.index_select(0, there), rows))
    return views.to(torch.uint8).unflatten(0, parameters.shape[:2])


def _places(steps: Tensor, start: Tensor, stop: Tensor, length: int) -> Tensor:
    """Coordinates, -1..1 on an axis of `length` pixels, of the pixels of a crop from `start` to `stop`."""
    pixel = (start + steps * (stop - start) - 0.5).clamp(start, stop - 1)
    return (2 * pixel + 1) / length - 1


def _moved(like: Tensor, *parts: Tensor) -> list[Tensor]:
    """Small tensors of the host on the device of `like`, without waiting for it."""
    return [part.to(like.device, non_blocking=like.is_cuda) for part in parts]
