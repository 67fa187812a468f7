"""Test-time augmentation (flip, multi-scale) and tiled inference for detectors."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from modules.decoding.boxes import Detection, Selection, merge, merge_tiles, mirrored, rescaled
from modules.decoding.dense import starts
from modules.decoding.tta import TiledTTA

AT_ONCE = 8  # tiles in one pass


class Shown(NamedTuple):
    """Input of a detector.

    Args:
        image: (B, 3, H, W), normalized.
        inside: int64 (B, 2): height and width of the part of each image that is no padding.
        proposals: float32 (R, 4) xyxy of each image, where they are given.
    """

    image: Tensor
    inside: Tensor
    proposals: list[Tensor] | None = None


Find = Callable[[Shown], list[Detection]]
Mirror = Callable[[Detection, float], Detection]


def infer(
    find: Find,
    shown: Shown,
    tiled: TiledTTA,
    selection: Selection,
    stride: int,
    black: Tensor,
    mirror: Mirror = mirrored,
) -> list[Detection]:
    """Detections of each image, in its pixels, merged over all augmented views and tiles.

    They do not depend on the rest of the batch: each image is padded to multiples of `stride` alone, not to the largest
    of its batch, whose black would move boxes at the border and take candidates' places; images that need the same
    height and width run together.

    Args:
        find: a detector.
        shown: the images.
        tiled: test-time augmentation, and the size and overlap of tiles.
        selection: NMS over the detections of several views.
        stride: divisor of height and width that the detector needs.
        black: (3, 1, 1), a black pixel after normalization; pads images, as in training.
        mirror: horizontal flip of detections in an image of a width.
    """
    found: dict[int, Detection] = {}
    for rows, own in alone(shown, stride, black):
        found |= zip(rows, _infer(find, own, tiled, selection, stride, black, mirror), strict=True)
    return [found[i] for i in range(len(shown.image))]


def _infer(
    find: Find,
    shown: Shown,
    tiled: TiledTTA,
    selection: Selection,
    stride: int,
    black: Tensor,
    mirror: Mirror,
) -> list[Detection]:
    def detect(shown: Shown) -> list[Detection]:
        large = shown.inside.amax(1) > (tiled.tile_size or torch.inf)
        found: dict[int, Detection] = {}
        for chosen, see in ((~large, find), (large, slide)):
            rows = chosen.nonzero()[:, 0].tolist()
            found |= zip(rows, see(_chosen(shown, rows)), strict=True) if rows else ()
        return [found[i] for i in range(len(large))]

    def slide(shown: Shown) -> list[Detection]:
        return sliding(find, shown, tiled.tile_size, tiled.tile_overlap, selection, stride, black)

    found = []
    for scale in tiled.tta.scales:
        seen = scaled(shown, scale, stride, black)
        here = [detect(seen)]
        if tiled.tta.flip:
            here.append([mirror(d, side) for d, side in zip(detect(turned(seen)), _widths(seen), strict=True)])
        factors = _factors(shown.image, scale)
        found += [[rescaled(one, 1 / factors[:2]) for one in each] for each in here]
    return [merge(each, selection) if len(each) > 1 else each[0] for each in zip(*found, strict=True)]


def alone(shown: Shown, stride: int, black: Tensor) -> Iterator[tuple[list[int], Shown]]:
    """Images of a batch without its padding, grouped by the height and width that each needs: multiples of `stride`.

    Yields:
        Indices in the batch, and the images of the group.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    sizes = shown.inside.tolist()
    for i, (height, width) in enumerate(sizes):
        groups.setdefault((-(-height // stride) * stride, -(-width // stride) * stride), []).append(i)
    if groups.keys() == {tuple(shown.image.shape[-2:])}:
        yield [*range(len(sizes))], shown
        return
    for (height, width), rows in groups.items():
        image = black.expand(len(rows), -1, height, width).clone(memory_format=torch.channels_last)
        for row, i in enumerate(rows):  # not a view of several: gradients of explanations pass through
            high, wide = sizes[i]
            image[row, :, :high, :wide] = shown.image[i, :, :high, :wide]
        yield rows, _chosen(shown, rows)._replace(image=image)


def _chosen(shown: Shown, rows: list[int]) -> Shown:
    proposals = None if shown.proposals is None else [shown.proposals[i] for i in rows]
    return Shown(shown.image[rows], shown.inside[rows], proposals)


def scaled(shown: Shown, scale: float, stride: int, black: Tensor) -> Shown:
    """Images rescaled by a factor, padded with black at the right and below to multiples of `stride`.

    `inside` is rounded to whole pixels; proposals are rescaled by the same factor.
    """
    target, factors = _target(shown.image, scale), _factors(shown.image, scale)
    if target == shown.image.shape[-2:]:
        return shown
    image = interpolate(shown.image, target, mode="bilinear", antialias=True)
    inside = (shown.inside * factors[:2].flip(0)).round().long().clamp(min=1)
    proposals = shown.proposals and [each * factors for each in shown.proposals]
    return Shown(_roomy(image, stride, black), inside, proposals)


def turned(shown: Shown) -> Shown:
    """Horizontal flip of images and proposals; the padding stays at the right."""
    widths = _widths(shown)
    image = [
        torch.cat([one[..., :width].flip(-1), one[..., width:]], -1)
        for one, width in zip(shown.image, widths, strict=True)
    ]
    proposals = shown.proposals and [
        mirrored({"boxes": each}, width)["boxes"] for each, width in zip(shown.proposals, widths, strict=True)
    ]
    return Shown(torch.stack(image), shown.inside, proposals)


def sliding(
    find: Find, shown: Shown, tile_size: int, tile_overlap: float, selection: Selection, stride: int, black: Tensor
) -> list[Detection]:
    """Sliding-window (tiled) detection: overlapping square tiles, which never leave the image, then `merge_tiles`.

    Args:
        tile_size: side in pixels; sides of the image that are shorter are covered whole.
        tile_overlap: share of a tile that it has in common with the next, at least, in [0, 1).
    """
    merged = []
    for i, size in enumerate(shown.inside.tolist()):
        sides = tuple(min(tile_size, side) for side in size)
        places = (starts(side, tile_size, tile_overlap) for side in size)
        top, left = next(places), next(places)
        corners = [(y, x) for y in top for x in left]
        proposals = None if shown.proposals is None else shown.proposals[i]
        found: list[Detection] = []
        for first in range(0, len(corners), AT_ONCE):
            now = corners[first : first + AT_ONCE]
            image = torch.stack([shown.image[i, :, y : y + sides[0], x : x + sides[1]] for y, x in now])
            inside = shown.inside.new_tensor([sides] * len(now))
            # a detector cuts what reaches out of its image
            given = None if proposals is None else [proposals - proposals.new_tensor([x, y, x, y]) for y, x in now]
            found += find(Shown(_roomy(image, stride, black), inside, given))
        merged.append(merge_tiles(found, corners, sides, tuple(size), selection) if len(found) > 1 else found[0])
    return merged


def _roomy(image: Tensor, stride: int, black: Tensor) -> Tensor:
    height, width = (-(-side // stride) * stride for side in image.shape[-2:])
    if (height, width) == image.shape[-2:]:
        return image
    room = black.expand(len(image), -1, height, width).clone(memory_format=torch.channels_last)
    room[..., : image.shape[-2], : image.shape[-1]] = image
    return room


def _widths(shown: Shown) -> list[int]:
    return shown.inside[:, 1].tolist()


def _target(image: Tensor, scale: float) -> tuple[int, int]:
    height, width = (max(1, round(side * scale)) for side in image.shape[-2:])
    return height, width


def _factors(image: Tensor, scale: float) -> Tensor:
    """Scale factors (4,) of boxes xyxy."""
    (height, width), (high, wide) = image.shape[-2:], _target(image, scale)
    return torch.tensor([wide / width, high / height] * 2, device=image.device)
