"""Detection heads: boxes, classes and scores, with masks or keypoints or without."""

from modules.heads.detection.base import DetectionHead, Detector, InstanceHead, KeypointHead
from modules.heads.detection.detr import DETR
from modules.heads.detection.fast_rcnn import RCNN, FastRCNN
from modules.heads.detection.faster_rcnn import FasterRCNN, KeypointRCNN, MaskRCNN
from modules.heads.detection.keypoint_heatmaps import KeypointHeatmaps
from modules.heads.detection.one_stage import FCOS, SSD, RetinaNet
from modules.heads.detection.single_object import SingleObject

__all__ = [
    "DETR",
    "FCOS",
    "RCNN",
    "SSD",
    "DetectionHead",
    "Detector",
    "FastRCNN",
    "FasterRCNN",
    "InstanceHead",
    "KeypointHead",
    "KeypointHeatmaps",
    "KeypointRCNN",
    "MaskRCNN",
    "RetinaNet",
    "SingleObject",
]
