"""Images with a class for every pixel."""

from datamodules.segmentation.camvid import CamVid
from datamodules.segmentation.coco import COCOSemantic
from datamodules.segmentation.segmentation_folder import SegmentationFolder
from datamodules.segmentation.voc import VOCSegmentation

__all__ = ["COCOSemantic", "CamVid", "SegmentationFolder", "VOCSegmentation"]
