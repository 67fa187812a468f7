"""Instance masks from the small squares that a network gives to run lengths in the image."""

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, expand_masks, paste_mask_in_image

RLE = dict[str, list[int] | bytes]
"""COCO's: `size` [height, width], and `counts`, compressed."""


def paste(masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> list[RLE]:
    """Masks of an image, each resized bilinearly to its box and cut at `threshold`, as torchvision pastes them.

    Only the columns of the image that a box spans are ever filled, one mask at a time, and no full-size floats.

    Args:
        masks: probabilities (N, M, M), of any device and floating type.
        boxes: (N, 4) xyxy in pixels of the image.
        size: height and width of the image.
        threshold: least probability of a pixel of the mask, exclusive.
    """
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
    columns = np.zeros((last - first, height), dtype=bool)
    columns[:, above:below] = part.numpy().T
    return encode(_runs(columns.ravel(), first * height, (width - last) * height), size)


def encode(counts: list[int], size: tuple[int, int]) -> RLE:
    """Run lengths, of zeros first, down the columns, to a compressed COCO RLE."""
    return coco.frPyObjects({"size": list(size), "counts": counts}, *size)


def _runs(pixels: np.ndarray, before: int, after: int) -> list[int]:
    """Run lengths of bool (P,) with so many more zeros before and after; the first is of zeros and may be 0."""
    changes = np.flatnonzero(np.diff(pixels, prepend=False, append=False)) + before
    total = before + len(pixels) + after
    return np.diff([0, *changes.tolist(), *([total] if total not in changes[-1:] else [])]).tolist()
