"""Data sets in torchvision's own layouts."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torchvision

from datamodules.base import Split
from datamodules.images.image_data import ImageDataModule
from datamodules.setting_roles import Role
from datamodules.source import Arrays
from modules.contracts import DataError


class _Torchvision(ImageDataModule):
    """Base of the data modules that read what torchvision reads.

    Args:
        root: the folder that holds (or gets) the data set.
        download: fetch it when it is missing.

    Raises:
        DataError: the data set is not there, or is damaged.
    """

    data: ClassVar[type]

    roles: ClassVar[dict[str, Role]] = {"root": "location", "download": "samples"}

    def __init__(self, root: str = "data", download: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.root, self.download = Path(root).expanduser(), download
        self.classes = list(self._read(train=False).classes)

    def prepare_data(self) -> None:
        if self.download:
            self._read(train=True)

    def sources(self) -> dict[Split, Arrays]:
        return {"train": self._arrays(True, "train"), "test": self._arrays(False, "test")}

    def _arrays(self, train: bool, name: str) -> Arrays:
        data = self._read(train)
        images = np.asarray(data.data)
        if images.ndim == 3:  # gray
            images = np.repeat(images[..., None], 3, axis=3)
        return Arrays(images, np.asarray(data.targets), name)

    def _read(self, train: bool) -> torchvision.datasets.VisionDataset:
        try:
            return self.data(str(self.root), train=train, download=self.download)
        except (RuntimeError, OSError, ValueError, AssertionError) as error:  # torchvision's readers raise them all
            raise DataError(
                f"{self.data.__name__} is not whole in {self.root} ({str(error).splitlines()[0]}): "
                f"add --data.download true, or point --data.root to it"
            ) from error


class CIFAR10(_Torchvision):
    """CIFAR-10: 50,000 + 10,000 color images of 32 pixels, 10 classes (Krizhevsky 2009)."""

    data = torchvision.datasets.CIFAR10


class CIFAR100(_Torchvision):
    """CIFAR-100: 50,000 + 10,000 color images of 32 pixels, 100 classes (Krizhevsky 2009)."""

    data = torchvision.datasets.CIFAR100


class MNIST(_Torchvision):
    """MNIST: 60,000 + 10,000 gray digits of 28 pixels, 10 classes (LeCun et al. 1998); `channels` 1, or three equal."""

    data = torchvision.datasets.MNIST


class FashionMNIST(_Torchvision):
    """Fashion-MNIST: 60,000 + 10,000 gray clothes of 28 pixels, 10 classes (Xiao et al. 2017); as MNIST."""

    data = torchvision.datasets.FashionMNIST
