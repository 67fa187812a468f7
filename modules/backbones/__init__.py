"""Backbones: image or clip in, feature pyramid out."""

from collections.abc import Callable
from inspect import signature

from timm import is_model, list_models

from modules.backbones import classics
from modules.backbones.c3d import C3D
from modules.backbones.full_resolution import FullResolution
from modules.backbones.pixels import RawPixels
from modules.backbones.timm import Timm
from modules.backbones.torchvision import IMAGES, Torchvision
from modules.backbones.torchvision_video import FAMILIES, TorchvisionVideo
from modules.backbones.unet import UNetEncoder
from modules.backbones.video_vit import VideoViT
from modules.contracts import Backbone, ConfigError, suggest

__all__ = [
    "ALONE",
    "C3D",
    "FAMILIES",
    "FullResolution",
    "RawPixels",
    "Timm",
    "Torchvision",
    "TorchvisionVideo",
    "UNetEncoder",
    "VideoViT",
    "by_name",
    "class_of",
    "classics",
    "names",
    "takes_channels",
]

ALONE: dict[str, type[C3D | FullResolution | RawPixels]] = {
    "c3d": C3D,
    "full_resolution": FullResolution,
    "pixels": RawPixels,
}
"""Backbones of ours by name, each with a class of its own."""


def by_name(
    name: str, small_images: bool = False, drop_path: float = 0.0, output_stride: int = 32, in_channels: int = 3
) -> Backbone:
    """Build a backbone by name: timm's, else torchvision's.

    Args:
        name: such as `resnet18` for images; `r3d_18` or `c3d` for clips; `pixels` for none. Where both have a name,
            `torchvision/resnet18` is torchvision's, with its names of tensors.
        small_images: see `Timm`, as the options after it, which networks for clips and pixels do not have.
        drop_path: see `Timm`.
        output_stride: see `Timm`.
        in_channels: of the images; another number than 3 for networks that take it (`takes_channels`).

    Raises:
        ConfigError: an unknown name, or an option that this backbone does not have.
    """
    cls, plain = class_of(name), name.rpartition("/")[2]
    if in_channels != 3 and cls and not takes_channels(cls):
        raise ConfigError(
            f"{name} takes images of 3 channels, not {in_channels}: leave in_channels out, and gray is repeated for it"
        )
    make: Callable[..., Backbone] | None = cls
    channels = {} if in_channels == 3 else {"in_channels": in_channels}
    if cls is TorchvisionVideo or name in ALONE:
        if small_images or drop_path or output_stride != 32:
            raise ConfigError(f"{name} has no small_images, drop_path and output_stride: leave them out")
        return make(**channels) if make and name in ALONE else TorchvisionVideo(plain)
    if make is None:
        hint = suggest(name, names()) or ": model.backbone takes a name of timm or torchvision"
        raise ConfigError(f"there is no backbone {name!r}{hint}")
    return make(plain, small_images=small_images, drop_path=drop_path, output_stride=output_stride, **channels)


def takes_channels(cls: type[Backbone]) -> bool:
    """True if backbones of this class are built for any number of channels, by their setting `in_channels`."""
    return "in_channels" in signature(cls).parameters


def class_of(name: str) -> type[Backbone] | None:
    """The class that builds a backbone by this name; null if there is no such backbone."""
    library, _, plain = name.rpartition("/")
    if name in ALONE:
        return ALONE[name]
    if library in ("", "torchvision") and plain in FAMILIES:
        return TorchvisionVideo
    if library == "" and is_model(name):
        return Timm
    return Torchvision if library in ("", "torchvision") and plain in IMAGES else None


def names() -> list[str]:
    """Every name that `by_name` takes; torchvision's with its library in front where timm has the same."""
    own = [f"torchvision/{name}" if is_model(name) else name for name in IMAGES]
    return [*list_models(), *own, *FAMILIES, *ALONE]
