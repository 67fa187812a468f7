"""Images with objects in them: boxes, classes and outlines."""

from datamodules.detection.detection_folder import DetectionFolder

__all__ = ["DetectionFolder"]
