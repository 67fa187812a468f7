"""Detection heads."""

from modules.heads.detection.detector import Detector, DetectorFactory
from modules.heads.detection.fast_rcnn import RCNN, FastRCNN
from modules.heads.detection.faster_rcnn import FasterRCNN, MaskRCNN
from modules.heads.detection.one_stage import FCOS, SSD, RetinaNet
from modules.heads.detection.single_object import SingleObject

__all__ = [
    "FCOS",
    "RCNN",
    "SSD",
    "Detector",
    "DetectorFactory",
    "FastRCNN",
    "FasterRCNN",
    "MaskRCNN",
    "RetinaNet",
    "SingleObject",
]
