"""Data modules: files on disk to batches."""

import cv2

from datamodules.base import DataModule
from datamodules.captions import CaptionTable, COCOCaptions, Flickr8k
from datamodules.detection import DetectionFolder
from datamodules.images import (
    CIFAR10,
    CIFAR100,
    MNIST,
    FashionMNIST,
    FromDataset,
    ImageFolder,
    ImageTable,
    ImageTags,
    UnlabeledImages,
)
from datamodules.latent_samples import LatentSamples
from datamodules.panoptic import PanopticFolder
from datamodules.segmentation import CamVid, COCOSemantic, SegmentationFolder, VOCSegmentation
from datamodules.synthetic import (
    Shapes,
    ShapesCaptions,
    ShapesKeypoints,
    ShapesMasks,
    ShapesObjects,
    ShapesPanoptic,
    ShapesSentences,
    ShapesTags,
    ShapesVideo,
)
from datamodules.text import Multi30k, ParallelText, TextFile
from datamodules.video import HMDB51, UCF101, FrameFolder, VideoFolder, VideoFrames, Videos, VideoStream

cv2.setNumThreads(0)  # its own threads fight with the loader's workers

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "HMDB51",
    "MNIST",
    "UCF101",
    "COCOCaptions",
    "COCOSemantic",
    "CamVid",
    "CaptionTable",
    "DataModule",
    "DetectionFolder",
    "FashionMNIST",
    "Flickr8k",
    "FrameFolder",
    "FromDataset",
    "ImageFolder",
    "ImageTable",
    "ImageTags",
    "LatentSamples",
    "Multi30k",
    "PanopticFolder",
    "ParallelText",
    "SegmentationFolder",
    "Shapes",
    "ShapesCaptions",
    "ShapesKeypoints",
    "ShapesMasks",
    "ShapesObjects",
    "ShapesPanoptic",
    "ShapesSentences",
    "ShapesTags",
    "ShapesVideo",
    "TextFile",
    "UnlabeledImages",
    "VOCSegmentation",
    "VideoFolder",
    "VideoFrames",
    "VideoStream",
    "Videos",
]
