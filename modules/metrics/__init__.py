"""Metrics that no library has in this form: on the device, over the whole set, void left out."""

from modules.metrics.segmentation import PROTOCOLS, SegmentationScores, per_class

__all__ = ["PROTOCOLS", "SegmentationScores", "per_class"]
