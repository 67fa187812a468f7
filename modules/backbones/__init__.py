"""Backbones: picture in, feature pyramid out."""

from modules.backbones.timm import Timm

__all__ = ["Timm"]
