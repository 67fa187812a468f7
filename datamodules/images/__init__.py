"""Images with a class each, with several, or with none."""

from datamodules.images.from_dataset import FromDataset
from datamodules.images.image_folder import ImageFolder
from datamodules.images.image_table import ImageTable
from datamodules.images.image_tags import ImageTags
from datamodules.images.tagged_images import TaggedImages
from datamodules.images.torchvision import CIFAR10, CIFAR100, MNIST, FashionMNIST
from datamodules.images.unlabeled_images import UnlabeledImages

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FashionMNIST",
    "FromDataset",
    "ImageFolder",
    "ImageTable",
    "ImageTags",
    "TaggedImages",
    "UnlabeledImages",
]
