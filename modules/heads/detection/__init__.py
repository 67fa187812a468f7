"""Detection heads: boxes, classes and scores, with masks or without."""

from modules.heads.detection.base import DetectionHead, Detector, InstanceHead
from modules.heads.detection.fast_rcnn import RCNN, FastRCNN
from modules.heads.detection.faster_rcnn import FasterRCNN, MaskRCNN
from modules.heads.detection.one_stage import FCOS, SSD, RetinaNet
from modules.heads.detection.single_object import SingleObject

__all__ = [
    "FCOS",
    "RCNN",
    "SSD",
    "DetectionHead",
    "Detector",
    "FastRCNN",
    "FasterRCNN",
    "InstanceHead",
    "MaskRCNN",
    "RetinaNet",
    "SingleObject",
]
