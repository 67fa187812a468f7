"""Necks: feature pyramid in, feature pyramid out."""

from modules.necks.fpn import FPN
from modules.necks.no_neck import NoNeck

__all__ = ["FPN", "NoNeck"]
