"""Dense prediction: sliding-window inference and test-time augmentation of maps from images to logits (B, C, H, W).

`infer` puts the parts together; each also works alone. Probabilities are averaged, never logits: a tile or a scale
that is certain would otherwise outvote several that are not.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from modules.decoding.tta import Predict, TiledTTA, augmented, check_tiles

STRIP = 1 << 25  # values that `class_map` resizes at once: 128 MiB


def infer(
    model: Predict,
    image: Tensor,
    stride: int,
    tiled: TiledTTA = TiledTTA(),
    at_once: int = 8,
) -> Tensor:
    """Probabilities float32 (B, C, H, W) of images of any size: padding, sliding window, test-time augmentation.

    Args:
        model: images to logits.
        image: (B, 3, H, W), normalized.
        stride: divisor of height and width that the model needs; images are padded, as in `padded`.
        tiled: size and overlap of the tiles of `sliding`; flip and scales that `augmented` averages over.
        at_once: tiles in one pass, as in `sliding`.
    """

    def predict(image: Tensor) -> Tensor:
        return padded(model, image, stride).float().softmax(1)

    if tiled.tile_size is not None:
        predict = partial(sliding, predict, tile_size=tiled.tile_size, tile_overlap=tiled.tile_overlap, at_once=at_once)
    return augmented(predict, image, tiled.tta.flip, tiled.tta.scales)


def padded(model: Predict, image: Tensor, stride: int) -> Tensor:
    """Run `model` on images of any size: pad to multiples of `stride`, crop the output back.

    Padding lies on the right and below and repeats the last pixel, which makes no edge that was not there. An image
    that already divides goes through as it is.

    Args:
        model: logits or probabilities; only gets sizes that divide.
        image: (B, 3, H, W).
        stride: of the coarsest map, in pixels.

    Returns:
        (B, C, H, W), the output of the model.
    """
    height, width = image.shape[-2:]
    below, right = -height % stride, -width % stride
    if below or right:
        image = pad(image, (0, right, 0, below), mode="replicate")
    return model(image)[..., :height, :width]


def sliding(predict: Predict, image: Tensor, tile_size: int, tile_overlap: float = 0.5, at_once: int = 8) -> Tensor:
    """Sliding-window (tiled) inference: probabilities of large images from overlapping square tiles.

    Tiles never leave the image and are spread evenly. Where they overlap, their probabilities are averaged with
    weights sin^2 that fade toward the tile's border, where context is least; weights sum to 1 at every
    pixel. An image that fits one tile is one plain pass. Beside the image, memory holds its probabilities once,
    and the tiles of one pass.

    Args:
        predict: images to probabilities.
        image: (B, 3, H, W).
        tile_size: side in pixels; sides of the image that are shorter are covered whole.
        tile_overlap: share of a tile that it has in common with the next, at least, in [0, 1).
        at_once: tiles in one pass, those of all B images together; at least one of each image. 0 is one of each image
            whatever their number, which traced graphs leave free.

    Returns:
        float32 (B, C, H, W).

    Raises:
        ConfigError: overlap outside of [0, 1), or a tile of no pixels.
    """
    check_tiles(tile_size, tile_overlap)
    height, width = image.shape[-2:]
    places = [
        (top, left)
        for top in starts(height, tile_size, tile_overlap)
        for left in starts(width, tile_size, tile_overlap)
    ]
    if len(places) == 1:
        return predict(image)
    high, wide = min(tile_size, height), min(tile_size, width)
    weight = fade(high, image.device)[:, None] * fade(wide, image.device)
    total, weights = None, torch.zeros(height, width, device=image.device)
    per_pass = max(1, at_once // len(image)) if at_once else 1
    for first in range(0, len(places), per_pass):
        now = places[first : first + per_pass]
        found = predict(torch.cat([image[..., top : top + high, left : left + wide] for top, left in now])).float()
        if total is None:
            total = found.new_zeros((image.shape[0], found.shape[1], height, width))
        parts = found.split(len(image)) if at_once else [found]
        for (top, left), part in zip(now, parts, strict=True):
            total[..., top : top + high, left : left + wide].addcmul_(part, weight)
            weights[top : top + high, left : left + wide] += weight
    return total.div_(weights)


def to_original(probabilities: Tensor, inside: Tensor, size: Tensor) -> Iterator[Tensor]:
    """Undo the letterbox: each image's probabilities in original pixels, padding cut off, then resized bilinearly.

    One image at a time, so that a caller who keeps only the best class never holds several large ones.

    Args:
        probabilities: (B, C, H, W).
        inside: int64 (B, 2), height and width of the part, from the top left corner, that shows the image.
        size: int64 (B, 2), height and width of the original image.

    Yields:
        (C, h, w) of each image.
    """
    for found, (height, width), original in zip(probabilities, inside.tolist(), size.tolist(), strict=True):
        found = found[:, :height, :width]
        if [height, width] != original:
            found = interpolate(found[None], tuple(original), mode="bilinear")[0]
        yield found


def class_maps(probabilities: Tensor, inside: Tensor, size: Tensor) -> list[Tensor]:
    """Most probable class of every pixel of the originals, uint8 (h, w) each; arguments as of `to_original`."""
    parts = zip(probabilities, inside.tolist(), size.tolist(), strict=True)
    return [class_map(one[:, :height, :width], original) for one, (height, width), original in parts]


def class_map(probabilities: Tensor, size: Sequence[int]) -> Tensor:
    """Most probable class of every pixel after bilinear resizing: uint8 (*size) of (C, h, w).

    Large maps are resized in strips of rows, so that memory never holds C maps of several megapixels.
    """
    classes, (height, width) = len(probabilities), size
    if tuple(probabilities.shape[-2:]) == (height, width):
        return _best(probabilities)
    rows = max(1, STRIP // (classes * width))
    if rows >= height:
        return _best(interpolate(probabilities[None], (height, width), mode="bilinear")[0])
    device, last = probabilities.device, probabilities.shape[1] - 1
    center = ((torch.arange(height, device=device) + 0.5) * ((last + 1) / height) - 0.5).clamp(0, last)
    above = center.long()
    below, share = (above + 1).clamp(max=last), (center - above)[:, None]
    found = torch.empty(height, width, dtype=torch.uint8, device=device)
    for part in torch.arange(height, device=device).split(rows):
        strip = torch.lerp(probabilities[:, above[part]], probabilities[:, below[part]], share[part])
        found[part] = _best(interpolate(strip[None], (len(part), width), mode="bilinear")[0])
    return found


def _best(probabilities: Tensor) -> Tensor:
    return probabilities.max(0).indices.to(torch.uint8)  # four times as fast on a CPU as argmax


def without_padding(predict: Predict, image: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Run `predict` on a batch of images, those of their original size without the padding of their batch.

    An image that was not resized is padded to the largest image of its batch; with that padding, its prediction would
    depend on the rest of the batch. Letterboxed images are always padded to the same size.

    Args:
        predict: images to maps.
        image: (B, 3, H, W).
        inside: int64 (B, 2), height and width of the part, from the top left corner, that shows the image.
        size: int64 (B, 2), height and width of the original image.

    Returns:
        (B, C, H, W), 0 in the padding of images that were run without it.
    """
    padded_size = tuple(image.shape[-2:])
    groups: dict[tuple[int, int], list[int]] = {}
    for i, (shown, original) in enumerate(zip(inside.tolist(), size.tolist(), strict=True)):
        groups.setdefault(tuple(shown) if shown == original else padded_size, []).append(i)
    if groups.keys() == {padded_size}:
        return predict(image)
    joined = None
    for (height, width), rows in groups.items():
        found = predict(image[rows, :, :height, :width])
        if joined is None:
            joined = found.new_zeros((len(image), found.shape[1], *padded_size))
        joined[rows, :, :height, :width] = found
    return joined


def starts(length: int, tile_size: int, tile_overlap: float) -> list[int]:
    """Starts of the tiles on an axis: as few as overlap by that much, spread evenly from one end to the other."""
    if length <= tile_size:
        return [0]
    step = max(1, tile_size - round(tile_size * tile_overlap))
    last = math.ceil((length - tile_size) / step)
    return [round(i * (length - tile_size) / last) for i in range(last + 1)]


def fade(length: int, device: torch.device) -> Tensor:
    """sin^2 over (0, pi), float32 (length,): 1 in the middle, nearly 0, but never 0, at both ends."""
    return (math.pi * (torch.arange(length, device=device) + 0.5) / length).sin().square()
