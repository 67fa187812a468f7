"""Pictures with at most one class each."""

from datamodules.pictures.image_folder import ImageFolder
from datamodules.pictures.images import Images
from datamodules.pictures.torchvision import CIFAR10, CIFAR100, MNIST, FashionMNIST

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "ImageFolder", "Images"]
