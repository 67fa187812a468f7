"""Test-time augmentation (TTA) of classification: multi-crop, ten-crop and dense (fully convolutional) test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from modules.contracts import Backbone, ConfigError, Maps, check_sizes
from modules.heads.base import ClassificationHead
from modules.heads.classification import Linear

Crops = Literal["center", "five", "ten", "dense"]


@dataclass(frozen=True)
class CropTTA:
    """Test-time augmentation: probabilities of several views of an image are averaged, outside of training.

    Args:
        crops: views of an image that `data.image_size` makes larger than those of the training: `center` is the whole
            image once; `five` are crops at the corners and in the center, `ten` the same and their mirror images
            (Krizhevsky et al. 2012); `dense` runs the convolutions once over the whole image and the head at every
            place of the coarsest map (Sermanet et al. 2014, Simonyan and Zisserman 2015).
        crop_size: side of the crops, or of the image that one place of `dense` sees, in pixels; null is the image_size
            of the training.
        flip: average over the mirror image of every view too, left to right.
    """

    crops: Crops = "center"
    crop_size: int | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        if self.crop_size is not None:
            check_sizes("model.tta", crop_size=self.crop_size)
            if self.crops == "center":
                raise ConfigError("model.tta.crop_size is about crops: set model.tta.crops to five, ten or dense")

    @property
    def views(self) -> str:
        """The views in words; empty for one."""
        places = {"center": "", "five": "5 crops", "ten": "10 crops", "dense": "all places of a dense test"}[self.crops]
        mirrored = self.flip and self.crops != "ten"
        return f"{places or 'an image'} and their mirror images" if mirrored else places


def five_crops(image: Tensor, size: int) -> list[Tensor]:
    """Crops (B, C, size, size) of images (B, C, H, W): top left and right, bottom left and right, center.

    The center is that of torchvision's `five_crop`.
    """
    height, width = image.shape[-2:]
    low, right = height - size, width - size
    places = [(0, 0), (0, right), (low, 0), (low, right), (round(low / 2), round(right / 2))]
    return [image[..., top : top + size, left : left + size] for top, left in places]


class CropTest:
    """Multi-crop or dense test of one classifier.

    Args:
        tta: the views.
    """

    def __init__(self, tta: CropTTA):
        self.tta, self.size = tta, tta.crop_size
        self.cells: list[tuple[int, int]] = []

    def set_trained_size(self, size: int | None) -> None:
        """Take the side of the images of the training, in pixels, unless `crop_size` is set."""
        self.size = self.tta.crop_size or size

    def logits(
        self, predict: Callable[[Tensor], Tensor], backbone: Backbone, head: ClassificationHead, image: Tensor
    ) -> Iterator[Tensor]:
        """Logits (B, K) of each view of normalized images (B, C, H, W).

        Args:
            predict: images to logits.
            backbone: of a dense test.
            head: of a dense test.
            image: as large as the data gives them.

        Raises:
            ConfigError: the images are not larger than the crops, the size of the crops is unknown, or a dense test of
                a network that has none.
        """
        crops = self.tta.crops
        size = 0 if crops == "center" else self._checked(image)
        for view in [image] if crops in ("center", "dense") else five_crops(image, size):
            mirrored = [view.flip(-1)] if self.tta.flip or crops == "ten" else []
            for one in (view, *mirrored):
                if crops == "dense":
                    yield from self._dense(backbone, head, one, size)
                else:
                    yield predict(one)

    def _checked(self, image: Tensor) -> int:
        crops, shorter = self.tta.crops, min(image.shape[-2:])
        if self.size is None:
            raise ConfigError(f"model.tta.crops is {crops}, but of no known size: set model.tta.crop_size")
        if shorter < self.size or (shorter == self.size and crops != "dense"):
            raise ConfigError(
                f"model.tta.crops {crops} takes crops of {self.size} pixels, but images have {shorter}: raise "
                f"--data.image_size, such as to {round(self.size * 8 / 7)}"
            )
        return self.size

    def _dense(self, backbone: Backbone, head: ClassificationHead, image: Tensor, size: int) -> Iterator[Tensor]:
        """Logits (B, K) of the head at each place of the coarsest map, where it sees as many cells as of one crop."""
        if not (head.pools or isinstance(head, Linear)):
            raise ConfigError(
                f"model.tta.crops dense needs a head on the coarsest map alone, but {type(head).__name__} may see "
                "others: choose Linear or FullyConnected, or crops ten"
            )
        if not self.cells:
            self.cells = [(part.shape[-2], part.shape[-1]) for part in _parts(backbone, image[:1, :, :size, :size])]
        parts = _parts(backbone, image)
        places = {
            (part.shape[-2] - height + 1, part.shape[-1] - width + 1)
            for part, (height, width) in zip(parts, self.cells, strict=True)
        }
        if len(places) > 1:
            raise _not_convolutional(backbone)
        ((rows, columns),) = places
        for top, left in ((top, left) for top in range(rows) for left in range(columns)):
            seen = [
                part[..., top : top + height, left : left + width]
                for part, (height, width) in zip(parts, self.cells, strict=True)
            ]
            maps = Maps(seen[:1], seen[1] if len(seen) > 1 else None)
            yield head(backbone.pool(maps) if head.pools else maps)


def _parts(backbone: Backbone, image: Tensor) -> list[Tensor]:
    """The coarsest map (B, C, h, w), and the end of the network where it has one."""
    maps = backbone(image)
    end = getattr(maps, "end", None)
    if end is None:
        return [maps[-1]]
    if not isinstance(end, Tensor) or end.ndim != 4:
        raise _not_convolutional(backbone)
    return [maps[-1], end]


def _not_convolutional(backbone: Backbone) -> ConfigError:
    return ConfigError(
        f"model.tta.crops dense needs a network that is convolutional up to its pooling, which {backbone.name} is not: "
        "choose five or ten"
    )


Views = list[tuple[ClassificationHead, list[Tensor]]]
"""Logits (B, K) of the views of each network, with its head."""


def mean_over(views: Views, value: Callable[[ClassificationHead, Tensor], Tensor]) -> Tensor:
    """Mean over networks of the mean over their views of `value`, of a head and its logits (B, K)."""
    each = [torch.stack([value(head, one) for one in logits]).mean(0) for head, logits in views]
    return torch.stack(each).mean(0)


def mean_probabilities(views: Views) -> Tensor:
    """Mean probabilities over views and networks, float32 (B, K)."""
    return mean_over(views, lambda head, logits: head.probabilities(logits))


def averaged_protocols(known: dict[str, str], tta: CropTTA, networks: int) -> dict[str, str]:
    """Protocols of the metrics of mean probabilities, with what they and the loss are averaged over.

    Args:
        known: metric -> protocol of one view.
        tta: the views.
        networks: number of them.
    """
    over = " of ".join(filter(None, (tta.views, f"{networks} networks" if networks > 1 else "")))
    return {k: f"{v}; mean{'' if k == 'loss' else ' probability'} over {over}" if over else v for k, v in known.items()}
