"""DETR: detection as a set of queries, each with one answer."""

from modules.heads.detection.detr.head import DETR

__all__ = ["DETR"]
