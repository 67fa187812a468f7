"""Necks: feature pyramid in, feature pyramid out."""

from modules.necks.fpn import FPN
from modules.necks.no_neck import NoNeck
from modules.necks.simple_pyramid import SimplePyramid, build_neck

__all__ = ["FPN", "NoNeck", "SimplePyramid", "build_neck"]
