"""Detectors with external region proposals: Fast R-CNN and R-CNN."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops import roi_align

from modules.contracts import ConfigError, Features, check_sizes
from modules.decoding.boxes import Detection
from modules.heads.detection.base import DetectionHead, Maps, Target, equal_channels, from_background
from modules.heads.detection.pooling import RoIAlign, RoIPool, named
from modules.heads.detection.regions import BoxLoss, Regions, usable

Encode = Callable[[Tensor], list[Tensor]]
Source = Literal["batch", "windows"]


class GivenProposals(DetectionHead):
    """Base of the detectors that classify and refine external proposals, with `roi_heads`."""

    roi_heads: Regions
    source: Source | None

    def proposals_from(self, given: bool) -> str | None:
        """See `Detector`."""
        name = type(self).__name__
        if given and self.source == "windows":
            raise ConfigError(f"{name} has head.source windows, but --data.proposals gives others: leave one of them")
        if not given and self.source == "batch":
            raise ConfigError(f"{name} has head.source batch: give it --data.proposals, or set head.source to windows")
        return None if given else f"{name} judges sliding windows, as --data.proposals gives no others"

    def forward(
        self,
        image: Tensor,
        maps: Maps,
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`.

        Raises:
            ConfigError: proposals should be given, and are not.
        """
        shapes = [(height, width) for height, width in inside.tolist()]
        if self.source == "windows" or (self.source is None and proposals is None):
            proposals = [windows(*image.shape[-2:], image.device)] * len(image)
        elif proposals is None:
            name = type(self).__name__
            raise ConfigError(f"{name} needs `proposals` in the batch: give them, or set head.source to windows")
        targets = None if targets is None else from_background(targets)
        return self.roi_heads(self.inputs(image, maps), usable(proposals, shapes), shapes, targets)

    @abstractmethod
    def inputs(self, image: Tensor, maps: Maps) -> dict[str, Tensor | Encode]:
        """Inputs of the region pooling, by name."""


class FastRCNN(GivenProposals):
    """Fast R-CNN: pools proposals from the feature maps of the image (Girshick 2015). Losses: classifier, box.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C, without background.
        stride: use only the map of this stride; null takes all, which must have equal channels.
        pooling: `align` interpolates (RoIAlign), `pool` takes the maximum of whole cells (RoIPool), as it was first.
        source: of proposals: `batch`, or `windows`: sliding windows of four sizes and three shapes; null is the batch
            where it has some, else windows.
        samples: proposals of an image in each training step; null is 64.
        hidden: width of the two hidden layers of each proposal.
        box_loss: `smooth_l1` on offsets, which null is too, `giou` or `diou` on boxes.

    Raises:
        ConfigError: maps of different channels, or none of that stride.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        stride: int | None = None,
        pooling: Literal["align", "pool"] = "align",
        source: Source | None = None,
        samples: int | None = None,
        hidden: int = 1024,
        box_loss: BoxLoss | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes("head", hidden=hidden, samples=64 if samples is None else samples)
        if stride is not None and stride not in features.strides:
            raise ConfigError(f"head.stride is {stride}, but the maps have strides {features.strides}")
        self.source = source
        self.used = [i for i, s in enumerate(features.strides) if stride in (None, s)]
        features = Features(*([values[i] for i in self.used] for values in features))
        channels = equal_channels(features, "FastRCNN without head.stride")
        pool = (RoIAlign if pooling == "align" else RoIPool)(features.strides, 7)
        head = TwoMLPHead(channels * 7**2, hidden)
        self.roi_heads = Regions(pool, head, hidden, outputs, self.selection, samples or 64, box_loss)

    def inputs(self, image: Tensor, maps: list[Tensor]) -> dict[str, Tensor]:
        return named([maps[i] for i in self.used])


class RCNN(GivenProposals):
    """R-CNN: crops proposals from the image and runs the backbone on every one (Girshick et al. 2014).

    Each proposal, with some of its surroundings, is warped to a square. The slow ancestor of Fast R-CNN, to compare
    with: trained with the same losses, classifier and box, in place of support vector machines after the network.
    Uses the coarsest map alone: wants NoNeck.

    Args:
        features: feature pyramid of the backbone.
        outputs: number of classes C, without background.
        size: side of the square that proposals are warped to, in pixels.
        context: part of the square's side that shows surroundings, on each side.
        source: of proposals: `batch`, or `windows`: sliding windows of four sizes and three shapes; null is the batch
            where it has some, else windows.
        samples: proposals of an image in each training step; null is 64.
        at_once: proposals of one pass through the backbone in evaluation.
        box_loss: `smooth_l1` on offsets, which null is too, `giou` or `diou` on boxes.

    Raises:
        ConfigError: context that leaves nothing of the proposal.
    """

    crops: ClassVar[bool] = True

    def __init__(
        self,
        features: Features,
        outputs: int,
        size: int = 64,
        context: float = 0.07,
        source: Source | None = None,
        samples: int | None = None,
        at_once: int = 256,
        box_loss: BoxLoss | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes("head", size=size, at_once=at_once, samples=64 if samples is None else samples)
        if not 0 <= context < 0.5:
            raise ConfigError(f"head.context is {context}, but it is a share on each side, from 0 to below 0.5")
        self.source = source
        crop = Crop(size, context, at_once)
        self.roi_heads = _Crops(crop, None, features.channels[-1], outputs, self.selection, samples or 64, box_loss)

    def inputs(self, image: Tensor, maps: Encode) -> dict[str, Tensor | Encode]:
        return {"image": image, "encode": maps}


class _Crops(Regions):
    def describe(
        self, features: dict[str, Tensor | Encode], boxes: list[Tensor], shapes: list[tuple[int, int]]
    ) -> Tensor:
        crops = self.box_roi_pool(features["image"], boxes)
        # a whole batch in training, as batch norm would see parts of it otherwise
        parts = [crops] if self.training or len(crops) == 0 else crops.split(self.box_roi_pool.at_once)
        return torch.cat([features["encode"](part)[-1].mean((-2, -1)) for part in parts])


class Crop(nn.Module):
    """Boxes of images, with surroundings, as squares (R, 3, size, size)."""

    def __init__(self, size: int, context: float, at_once: int):
        super().__init__()
        self.size, self.at_once, self.growth = size, at_once, 1 / (1 - 2 * context)

    def forward(self, image: Tensor, boxes: list[Tensor]) -> Tensor:
        grown = []
        for each in boxes:
            middle, half = (each[:, :2] + each[:, 2:]) / 2, (each[:, 2:] - each[:, :2]) / 2 * self.growth
            grown.append(torch.cat([middle - half, middle + half], 1))
        crops = roi_align(image, grown, self.size, aligned=True)
        return crops.contiguous(memory_format=torch.channels_last)


def windows(height: int, width: int, device: torch.device) -> Tensor:
    """Sliding windows (R, 4) xyxy.

    Sides of an eighth, a quarter, half and all of the longer side of the image, in shapes 1:2, 1:1 and 2:1, half a side
    apart.
    """
    sizes = [max(2, max(height, width) // part) for part in (8, 4, 2, 1)]
    grid = AnchorGenerator(tuple((size,) for size in sizes), ((0.5, 1.0, 2.0),) * len(sizes))
    steps = [[torch.tensor(size // 2, device=device)] * 2 for size in sizes]
    grid.set_cell_anchors(torch.float32, device)
    return torch.cat(grid.grid_anchors([[2 * height // size + 1, 2 * width // size + 1] for size in sizes], steps))
