"""Images with at most one class each."""

from datamodules.images.from_dataset import FromDataset
from datamodules.images.image_folder import ImageFolder
from datamodules.images.torchvision import CIFAR10, CIFAR100, MNIST, FashionMNIST
from datamodules.images.unlabeled_images import UnlabeledImages

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "FromDataset", "ImageFolder", "UnlabeledImages"]
