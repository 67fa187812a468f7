"""Dataset of images with semantic maps."""

from typing import Any

import numpy as np

from datamodules.letterbox import Letterbox
from datamodules.pairs import Pairs
from datamodules.samples import ImageDataset
from datamodules.segmentation.augment import MaskAugment


class MaskDataset(ImageDataset):
    """Images with their semantic maps, augmented or whole.

    Args:
        make: the sample of image (H, W, 3), map (H, W) and the key (seed, epoch, index).
    """

    def __init__(self, source: Pairs, indices: np.ndarray, make: Letterbox | MaskAugment, seed: int, skip: bool):
        super().__init__(source, indices, [], seed, skip)
        self.make = make

    def content(self, epoch: int, row: int, index: int) -> dict[str, Any]:
        return self.make(self.source.image(index), self.source.mask(index), self.seed, epoch, index)
