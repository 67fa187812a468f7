"""Data modules: files on disk to batches."""

import cv2

from datamodules.base import DataModule
from datamodules.captions import CaptionTable, COCOCaptions, Flickr8k
from datamodules.images import CIFAR10, CIFAR100, MNIST, FashionMNIST, ImageFolder, Images
from datamodules.noise import Noise
from datamodules.objects import Objects
from datamodules.semantic import CamVid, COCOSemantic, Masks, VOCSegmentation
from datamodules.shapes import Shapes, ShapesCaptions, ShapesInMotion, ShapesMasks, ShapesObjects, ShapesSentences
from datamodules.text import Multi30k, ParallelText, Sentences
from datamodules.videos import HMDB51, UCF101, FrameFolder, VideoFolder, VideoFrames, Videos

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
    "FashionMNIST",
    "Flickr8k",
    "FrameFolder",
    "ImageFolder",
    "Images",
    "Masks",
    "Multi30k",
    "Noise",
    "Objects",
    "ParallelText",
    "Sentences",
    "Shapes",
    "ShapesCaptions",
    "ShapesInMotion",
    "ShapesMasks",
    "ShapesObjects",
    "ShapesSentences",
    "VOCSegmentation",
    "VideoFolder",
    "VideoFrames",
    "Videos",
]
