"""Images with a class for every pixel."""

from datamodules.semantic.camvid import CamVid
from datamodules.semantic.coco import COCOSemantic
from datamodules.semantic.masks import Masks
from datamodules.semantic.voc import VOCSegmentation

__all__ = ["COCOSemantic", "CamVid", "Masks", "VOCSegmentation"]
