"""Instance masks from the small squares that a network gives to run lengths in the image."""

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks, paste_mask_in_image

RLE = dict[str, list[int] | bytes]
"""COCO's: `size` [height, width], and `counts`, compressed."""


def paste(
    masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5, exact: bool = False
) -> list[RLE]:
    """Masks of an image, each resized bilinearly to its box and cut at `threshold`, as torchvision pastes them.

    Only the columns of the image that a box spans are ever filled, one mask at a time, and no full-size floats.
    torchvision rounds boxes to pixels and makes them larger by up to one, as heads learned that were trained so.

    Args:
        masks: probabilities (N, M, M), of any device and floating type.
        boxes: (N, 4) xyxy in pixels of the image.
        size: height and width of the image.
        threshold: least probability of a pixel of the mask, exclusive.
        exact: boxes are exact, not rounded: the inverse of `crop`.
    """
    if exact:
        parts = zip(masks.detach().float().cpu(), boxes.detach().double().cpu(), strict=True)
        return [_paste_exactly(mask, box, size, threshold) for mask, box in parts]
    # a border of zeros lets the resize fade out, and the box grows with it
    padded, scale = expand_masks(masks.detach().float().cpu()[:, None], padding=1)
    grown = expand_boxes(boxes.detach().float().cpu(), scale).to(torch.int64)
    return [_paste(mask, box, size, threshold) for mask, box in zip(padded[:, 0], grown, strict=True)]


def _paste(mask: Tensor, box: Tensor, size: tuple[int, int], threshold: float) -> RLE:
    height, width = size
    left, top, right, bottom = box.tolist()
    first, last = max(left, 0), max(min(max(right, left) + 1, width), 0)
    above, below = max(top, 0), max(min(max(bottom, top) + 1, height), 0)
    if first >= last or above >= below:
        return encode([height * width], size)
    corner = torch.tensor([first, above, first, above])
    part = paste_mask_in_image(mask, box - corner, below - above, last - first) > threshold
    return _encode_part(part, above, first, size)


def _paste_exactly(mask: Tensor, box: Tensor, size: tuple[int, int], threshold: float) -> RLE:
    """A mask at the pixels whose middles lie in its box."""
    spans, weights = [], []
    for low, high, side, cells in zip(box[:2].flip(0), box[2:].flip(0), size, mask.shape, strict=True):
        start = min(max(0, round(low.item())), side)
        stop = max(start, min(side, round(high.item())))
        middles = torch.arange(start, stop) + 0.5
        weights.append(_bilinear((middles - low) / (high - low) * cells, cells).float())
        spans.append(start)
    part = weights[0] @ mask @ weights[1].T > threshold
    return _encode_part(part, spans[0], spans[1], size) if part.numel() else encode([size[0] * size[1]], size)


def crop(masks: Tensor, boxes: Tensor, cells: int) -> Tensor:
    """Masks (..., H, W) over their boxes (..., 4) xyxy, resized bilinearly to (..., cells, cells).

    Pixels outside of a box do not count.
    """
    middles = (torch.arange(cells, device=masks.device) + 0.5) / cells
    weights = []
    for axis in (0, 1):
        low, high = boxes[..., axis, None], boxes[..., axis + 2, None]
        places = (low + (high - low) * middles).clamp(low + 0.5, high - 0.5)
        weights.append(_bilinear(places, masks.shape[-1 - axis]).to(masks))
    columns, rows = weights
    return rows @ masks @ columns.transpose(-2, -1)


def _bilinear(places: Tensor, length: int) -> Tensor:
    """Weights (..., length) of cells, from 0 to 1 at their middles, at places (...) in 0..length."""
    middles = (places - 0.5).clamp(0, length - 1)
    return (1 - (middles[..., None] - torch.arange(length, device=places.device)).abs()).clamp_min(0)


def _encode_part(part: Tensor, above: int, first: int, size: tuple[int, int]) -> RLE:
    """RLE of bool (h, w) that begins in row `above` and column `first` of an image of that size."""
    (height, width), (high, wide) = size, part.shape
    columns = np.zeros((wide, height), dtype=bool)
    columns[:, above : above + high] = part.numpy().T
    return encode(_runs(columns.ravel(), first * height, (width - first - wide) * height), size)


def encode(counts: list[int], size: tuple[int, int]) -> RLE:
    """Run lengths, of zeros first, down the columns, to a compressed COCO RLE."""
    return coco.frPyObjects({"size": list(size), "counts": counts}, *size)


def _runs(pixels: np.ndarray, before: int, after: int) -> list[int]:
    """Run lengths of bool (P,) with so many more zeros before and after; the first is of zeros and may be 0."""
    changes = np.flatnonzero(np.diff(pixels, prepend=False, append=False)) + before
    total = before + len(pixels) + after
    return np.diff([0, *changes.tolist(), *([total] if total not in changes[-1:] else [])]).tolist()
