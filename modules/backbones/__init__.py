"""Backbones: image or clip in, feature pyramid out."""

from timm import is_model, list_models

from modules.backbones import classics
from modules.backbones.c3d import C3D
from modules.backbones.timm import Timm
from modules.backbones.torchvision import IMAGES, Torchvision
from modules.backbones.torchvision_video import FAMILIES, TorchvisionVideo
from modules.backbones.unet import UNetEncoder
from modules.contracts import Backbone, ConfigError, nearest

__all__ = ["C3D", "FAMILIES", "Timm", "Torchvision", "TorchvisionVideo", "UNetEncoder", "by_name", "classics", "names"]


def by_name(name: str, small_images: bool = False, drop_path: float = 0.0, output_stride: int = 32) -> Backbone:
    """Build a backbone by name: timm's, else torchvision's.

    Args:
        name: such as `resnet18` for images; `r3d_18` or `c3d` for clips. Where both have a name,
            `torchvision/resnet18` is torchvision's, with its names of tensors.
        small_images: see `Timm`, as the options after it, which networks for clips do not have.
        drop_path: see `Timm`.
        output_stride: see `Timm`.

    Raises:
        ConfigError: an unknown name, or an option that this backbone does not have.
    """
    library, _, plain = name.rpartition("/")
    if library in ("", "torchvision") and (plain in FAMILIES or name == "c3d"):
        if small_images or drop_path or output_stride != 32:
            raise ConfigError(f"{name} has no small_images, drop_path and output_stride: leave them out")
        return C3D() if name == "c3d" else TorchvisionVideo(plain)
    if library == "" and is_model(name):
        return Timm(name, small_images=small_images, drop_path=drop_path, output_stride=output_stride)
    if library in ("", "torchvision") and plain in IMAGES:
        return Torchvision(plain, small_images=small_images, drop_path=drop_path, output_stride=output_stride)
    raise ConfigError(f"there is no backbone {name!r}{nearest(name, names())}")


def names() -> list[str]:
    """Every name that `by_name` takes; torchvision's with its library in front where timm has the same."""
    own = [f"torchvision/{name}" if is_model(name) else name for name in IMAGES]
    return [*list_models(), *own, *FAMILIES, "c3d"]
