"""Backbones: picture or clip in, feature pyramid out."""

from modules.backbones import classics
from modules.backbones.c3d import C3D
from modules.backbones.timm import Timm
from modules.backbones.torchvision import FAMILIES, TorchvisionVideo
from modules.backbones.unet import UNetEncoder
from modules.contracts import Backbone, ConfigError

__all__ = ["C3D", "Timm", "TorchvisionVideo", "UNetEncoder", "by_name", "classics"]


def by_name(name: str, small_images: bool = False, drop_path: float = 0.0, output_stride: int = 32) -> Backbone:
    """A backbone of which only the name is said: torchvision's and our own for clips, else timm's.

    Args:
        name: such as `resnet18` for pictures; `r3d_18` or `c3d` for clips.
        small_images: see `Timm`, as the options after it, which networks for clips do not have.
        drop_path: see `Timm`.
        output_stride: see `Timm`.

    Raises:
        ConfigError: an unknown name, or an option that this backbone does not have.
    """
    if name != "c3d" and name not in FAMILIES:
        return Timm(name, small_images=small_images, drop_path=drop_path, output_stride=output_stride)
    if small_images or drop_path or output_stride != 32:
        raise ConfigError(f"{name} has no small_images, drop_path and output_stride: leave them out")
    return C3D() if name == "c3d" else TorchvisionVideo(name)
