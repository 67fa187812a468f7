"""Data modules: files on disk to batches."""

import cv2

from datamodules.base import DataModule
from datamodules.image_folder import ImageFolder
from datamodules.images import Images
from datamodules.shapes import Shapes
from datamodules.torchvision import CIFAR10, CIFAR100, MNIST, FashionMNIST

cv2.setNumThreads(0)  # its own threads fight with the loader's workers

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "DataModule", "FashionMNIST", "ImageFolder", "Images", "Shapes"]
