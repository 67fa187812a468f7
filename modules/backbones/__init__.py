"""Backbones: picture in, feature pyramid out."""

from modules.backbones.timm import Timm
from modules.backbones.unet import UNetEncoder

__all__ = ["Timm", "UNetEncoder"]
