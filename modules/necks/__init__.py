"""Necks: feature pyramid in, feature pyramid out."""

from modules.necks.fpn import FPN

__all__ = ["FPN"]
