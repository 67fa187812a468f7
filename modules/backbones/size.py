"""Image sizes that a backbone supports, found on torch's meta device without computing anything."""

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from modules.contracts import Backbone, ConfigError

Found = TypeVar("Found")


def blank(backbone: Backbone) -> Backbone:
    """A copy on torch's meta device, shapes without values: it accepts and refuses sizes as the original does."""
    tensors = [*backbone.parameters(), *backbone.buffers()]
    shapes = {id(t): t.detach().to("meta") if not isinstance(t, Parameter) else _shape(t) for t in tensors}
    return deepcopy(backbone, shapes).to("meta").eval()  # nothing is copied but the layers


def on_a_copy(backbone: Backbone, look: Callable[[Backbone], Found]) -> Found:
    """Result of `look` on a `blank` copy; where it fails, on one that has values.

    Raises:
        Exception: that of the network, where it fails with both.
    """
    try:
        return look(blank(backbone))
    except Exception:  # some compute sizes from numbers
        return look(deepcopy(backbone).eval())


def zeros(copy: Backbone, count: int, height: int, width: int) -> Tensor:
    """So many images, or clips, of this size, on the device and of the type of the copy's tensors."""
    like = next(copy.parameters(), copy.mean)
    shape = (count, copy.in_channels, *_frames(copy), height, width)
    return torch.zeros(shape, device=like.device, dtype=like.dtype)


def attempt(blank: Backbone, height: int, width: int) -> list[Tensor] | None:
    """Maps of a `blank` backbone for an image, or clip, of this size; null if one is empty or it fails."""
    image = torch.empty(1, blank.in_channels, *_frames(blank), height, width, device="meta")
    try:
        with torch.no_grad():
            maps = blank(image)
    except Exception:  # every network has its own way to fail
        return None
    return maps if all(cells.numel() for cells in maps) else None


def _frames(backbone: Backbone) -> list[int]:
    """Frames of a clip to try a backbone with: 16, or the next multiple of its `tubelet`; none of an image."""
    return [-(-16 // backbone.tubelet) * backbone.tubelet] * backbone.temporal


def _shape(parameter: Parameter) -> Parameter:
    return Parameter(parameter.detach().to("meta"), parameter.requires_grad)


def takes(blank: Backbone, height: int, width: int) -> bool:
    """True if a `blank` backbone takes images of this size, and gives at least one cell of each map."""
    return attempt(blank, height, width) is not None


def published(backbone: Backbone) -> tuple[int, int]:
    """Height and width of the images that a backbone was published for; 224 x 224 if unknown."""
    return tuple(backbone.config.get("input_size", (3, 224, 224))[1:])


def fixed(blank: Backbone) -> bool:
    """True if a `blank` backbone takes only images of the size that it was built for, or multiples of it."""
    height, width = published(blank)
    step = max(blank.features.strides)
    return not any(takes(blank, height + by, width + by) for by in (step, 2 * step))


def smallest(blank: Backbone) -> int:
    """Side of the smallest square image that a `blank` backbone takes: at least one cell of its coarsest map."""
    below, enough = max(blank.features.strides) - 1, max(published(blank))
    while enough - below > 1:
        side = (below + enough) // 2
        below, enough = (below, side) if takes(blank, side, side) else (side, enough)
    return enough


def check_stride(backbone: Backbone, size: int, option: str = "data.image_size") -> None:
    """Check the shorter side of images, in pixels, that `option` sets.

    Raises:
        ConfigError: smaller than one cell of the coarsest map; on a CPU in bf16 the gradient of such convolutions is
            undefined.
    """
    stride = backbone.features.strides[-1]
    if size < stride:
        finer = "" if backbone.small_images else ", or try --model.small_images true"
        raise ConfigError(
            f"images of {size} pixels are smaller than the stride {stride} of {backbone.name}: "
            f"raise --{option} to {smallest(blank(backbone))} or more{finer}"
        )


def size_error(
    backbone: Backbone, image: Tensor, error: Exception, remedy: str = "", option: str = "data.image_size"
) -> ConfigError | None:
    """Error about the image size, after `backbone` failed on `image` (B, C, H, W); null if the size is not the cause.

    Args:
        remedy: another remedy for a network of one size, appended to the sentence.
        option: the setting of the image size.
    """
    height, width = image.shape[-2:]
    if image.is_meta:  # it is being tried out by `takes`
        return None
    if backbone.training and len(image) == 1 and "more than 1 value per channel" in str(error):
        return ConfigError(
            f"{backbone.name} cannot train on a single image of {height} x {width} pixels, which is one cell of "
            f"its coarsest map: raise --data.batch_size or --data.image_size"
        )
    empty = blank(backbone)
    if takes(empty, height, width) or not takes(empty, *published(empty)):  # the size is not to blame
        return None
    if fixed(empty):
        high, wide = published(backbone)
        return ConfigError(
            f"{backbone.name} takes images of {high} x {wide} pixels, not {height} x {width}: "
            f"set --{option} {high if high == wide else f'[{high},{wide}]'}{remedy}"
        )
    least = smallest(empty)
    if min(height, width) < least:
        return ConfigError(
            f"{backbone.name} takes images of {least} pixels or more, not {height} x {width}: raise --{option}"
        )
    return ConfigError(f"{backbone.name} does not take images of {height} x {width} pixels: {error}")
