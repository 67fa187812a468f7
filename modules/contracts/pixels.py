"""Range and channels of images."""

import torch
from torch import Tensor, nn

from modules.contracts.errors import ConfigError, DataError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def pixel_scale(image: Tensor) -> float:
    """The value of white in images: 255 of uint8, 1 of floats.

    Raises:
        DataError: floats beyond 0..1, or another type.
    """
    if image.dtype == torch.uint8:
        return 255.0
    if not image.is_floating_point():
        raise DataError(f"images are uint8 in 0..255 or floats in 0..1, but the data gives {image.dtype}: convert them")
    if image.numel() and image.device.type != "meta":
        low, high = torch.stack(image.aminmax()).tolist()
        if not 0 <= low <= high <= 1:
            raise DataError(
                f"images are uint8 in 0..255 or floats in 0..1, but the data gives floats from {low:.3g} to {high:.3g}"
                f": leave scaling and normalization to the task"
            )
    return 1.0


def to_uint8(image: Tensor) -> Tensor:
    """Images in 0..1 of any shape as uint8, rounded; what is beyond is cut."""
    return (255 * image.clamp(0, 1)).round().to(torch.uint8)


def with_channels(image: Tensor, channels: int) -> Tensor:
    """Images (B, C, ...) with as many channels.

    Three become one by brightness (ITU-R BT.601, whole numbers of uint8), one becomes any number by repetition.

    Raises:
        ConfigError: other numbers of channels.
    """
    found = image.shape[1]
    if found == channels:
        return image
    if found == 1:
        return image.expand(-1, channels, *image.shape[2:])
    if (found, channels) != (3, 1):
        raise ConfigError(
            f"the data gives images of {found} channels, but the backbone takes {channels}: set --model.backbone Timm "
            f"--model.backbone.in_channels {found}, or give other --data"
        )
    weights = torch.tensor(LUMA, device=image.device).view(1, 3, *[1] * (image.ndim - 2))
    gray = (image.float() * weights).sum(1, keepdim=True)
    return gray.round_() if image.dtype == torch.uint8 else gray


def refuse_raw(network: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Refuse images as files hold them, which `predict_step` may be given outside of a Trainer.

    Args:
        network: with this as its forward pre-hook.
        inputs: of it, images first.

    Raises:
        DataError: the images are no floats.
    """
    if inputs and not inputs[0].is_floating_point():
        raise DataError(
            f"the network is given images of {inputs[0].dtype}, but forward and predict_step take normalized floats: "
            f"call normalized(image) of the task first, as the Trainer does"
        )
