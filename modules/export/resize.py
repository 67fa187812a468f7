"""Resizing as OpenCV does it, for traced graphs: sizes are tensors, and results are equal to its bytes.

OpenCV computes bilinear resizing of bytes in fixed point, with weights of 11 bits, and area averaging in float32; both
round to bytes. Here the same numbers come from gathers and matrix products, whose indices and weights follow from the
height and width inside the graph.
"""

import torch
from torch import Tensor

BITS = 2048  # OpenCV's INTER_RESIZE_COEF_SCALE
SLIVER = 1e-3  # share of a pixel that OpenCV's area averaging leaves out


def linear(image: Tensor, resized: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Bilinear resizing, cv2.INTER_LINEAR of uint8.

    Args:
        image: uint8 (B, H, W, 3).
        resized: float64 (2,), height and width of the whole result.
        rows: float64 (h,), the rows of the result that are computed.
        columns: float64 (w,), its columns.

    Returns:
        float32 (B, 3, h, w), whole numbers in [0, 255].
    """
    above, below, *vertical = _neighbors(side(image, 1), resized[0], rows, edges=False)
    left, right, *horizontal = _neighbors(side(image, 2), resized[1], columns, edges=True)
    strips = []
    for row, weight in zip((above, below), vertical, strict=True):
        lines = image.index_select(1, row)
        near, far = (
            lines.index_select(2, column).permute(0, 3, 1, 2).float() * share
            for column, share in zip((left, right), horizontal, strict=True)
        )
        strips.append((((near + far) / 16).floor().double() * weight[:, None] / 65536).floor())  # 27 bits
    return ((strips[0] + strips[1] + 2) / 4).floor().float()


def area(image: Tensor, resized: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Area averaging, cv2.INTER_AREA of uint8, to a size that is not larger; arguments and result as `linear`."""
    scales = torch.stack([side(image, 1), side(image, 2)]) / resized
    whole = (scales == scales.round()).all()
    vertical = _overlaps(image.shape[1], side(image, 1), scales[0], rows, whole)
    horizontal = _overlaps(image.shape[2], side(image, 2), scales[1], columns, whole)
    mean = vertical @ image.permute(0, 3, 1, 2).float() @ horizontal.T
    mean = mean * torch.where(whole, 1 / scales.prod(), 1.0).float()
    halves = (scales == 2).all()  # OpenCV's own loop for these rounds halves up, all others to even
    return torch.where(halves, (mean + 0.5).floor(), mean.round())


def top_left(maps: Tensor, inside: Tensor) -> Tensor:
    """The top left part of maps (B, C, h, w), of a height and width float64 (2,) that the graph computes."""
    for axis, count in enumerate(inside.long().tolist(), 2):
        torch._check(count >= 1)
        torch._check(count <= maps.shape[axis])
        maps = maps.narrow(axis, 0, count)
    return maps


def side(image: Tensor, axis: int) -> Tensor:
    """A side of a tensor as a float64 scalar, dynamic in traced graphs."""
    return torch.full((), image.shape[axis], dtype=torch.float64)


def _neighbors(length: Tensor, resized: Tensor, places: Tensor, edges: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Indices of both neighbors of each place, int64, and their weights in 1/2048.

    Args:
        length: of the axis.
        resized: its length in the result.
        places: indices in the result.
        edges: give the outermost pixel the whole weight beyond the edge, as OpenCV does to columns alone.
    """
    position = ((places + 0.5) * (1 / (resized / length)) - 0.5).float()
    first = position.floor()
    share, last = position - first, (length - 1).float()
    if edges:
        share = torch.where((first < 0) | (first >= last), 0.0, share)
        first = torch.minimum(first.clamp_min(0), last)
    second = torch.minimum((first + 1).clamp_min(0), last)
    first = torch.minimum(first.clamp_min(0), last)
    return first.long(), second.long(), ((1 - share) * BITS).round(), (share * BITS).round()


def _overlaps(count: int, length: Tensor, scale: Tensor, places: Tensor, whole: Tensor) -> Tensor:
    """Share of every pixel of an axis in each place, float32 (places, count); lengths, not shares, where `whole`."""
    start = (places * scale)[:, None]
    end = torch.minimum(start + scale, length)
    pixels = torch.arange(count, dtype=torch.float64)
    overlap = torch.minimum(end, pixels + 1) - torch.maximum(start, pixels)
    overlap = torch.where(overlap > SLIVER, overlap, 0.0)
    return torch.where(whole, overlap, overlap / (end - start)).float()
