"""One-stage detectors: torchvision's RetinaNet, FCOS and SSD on any backbone and neck."""

from abc import abstractmethod
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models import detection
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.ssd import SSDHead
from torchvision.ops import box_iou

from modules.contracts import ConfigError, Features, check_sizes
from modules.decoding.boxes import Detection
from modules.heads.detection.anchors import Anchors, DefaultBoxes
from modules.heads.detection.base import RATIOS, DetectionHead, Target, equal_channels, from_background, image_list

NAMES = {"classification": "classifier", "bbox_regression": "box", "bbox_ctrness": "centerness"}


class OneStage(DetectionHead):
    """Base of one-stage detection heads; `net` is torchvision's, without its backbone."""

    net: nn.Module

    @property
    def anchors(self) -> Anchors | None:
        return self.net.anchor_generator

    def forward(
        self,
        image: Tensor,
        maps: list[Tensor],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        images = image_list(image, inside)
        outputs = {name: each.float() for name, each in self.net.head(maps).items()}
        boxes = self.net.anchor_generator(images, maps)
        cells = [each.shape[-2] * each.shape[-1] for each in maps]
        losses = {} if targets is None else self.losses(targets, outputs, boxes, cells)
        if self.training:
            return [], {NAMES[name]: loss for name, loss in losses.items()}
        found = self.decode(outputs, boxes, images.image_sizes, cells)
        return [self.selection.select(each) for each in found], {NAMES[name]: loss for name, loss in losses.items()}

    @abstractmethod
    def losses(
        self, targets: list[Target], outputs: dict[str, Tensor], anchors: list[Tensor], cells: list[int]
    ) -> dict[str, Tensor]:
        """Under torchvision's names."""

    def decode(
        self, outputs: dict[str, Tensor], anchors: list[Tensor], shapes: list[tuple[int, int]], cells: list[int]
    ) -> list[Detection]:
        """torchvision's, which keeps the best of each map."""
        each = self.net.anchor_generator.num_anchors_per_location()
        counts = [here * many for here, many in zip(cells, each, strict=True)]
        levels = {name: list(values.split(counts, 1)) for name, values in outputs.items()}
        return self.net.postprocess_detections(levels, [list(a.split(counts)) for a in anchors], shapes)


class RetinaNet(OneStage):
    """RetinaNet: anchors classified with the focal loss (Lin et al. 2017b). torchvision's; its names follow `net`.

    Wants a neck FPN with `levels: 3` and `extra: p6p7`. Losses: classifier, box.

    Args:
        features: feature pyramid of the neck, all maps with equal channels.
        outputs: number of classes C.
        anchor_sizes: square root of an anchor's area in pixels, ascending, the same number for each map; null is
            three of each: 4, 5 and 6.3 strides.
        ratios: height / width of the anchors; null is 0.5, 1 and 2.
        box_loss: `l1`, which null is too, or `smooth_l1` on offsets, `giou` or `diou` on boxes.
        group_norm: after each convolution, as in torchvision's second version; training from random weights needs it.

    Raises:
        ConfigError: maps of different channels, anchor sizes that maps cannot share evenly, or channels that do not
            fall into 32 groups.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        anchor_sizes: list[float] | None = None,
        ratios: list[float] | None = None,
        box_loss: Literal["l1", "smooth_l1", "giou", "diou"] | None = None,
        group_norm: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = equal_channels(features, "RetinaNet")
        if group_norm:
            _in_groups(channels, "RetinaNet with group_norm")
        sizes = anchor_sizes or [float(int(4 * s * 2 ** (i / 3))) for s in features.strides for i in range(3)]
        self.given_anchors = anchor_sizes is not None or ratios is not None
        anchors = Anchors(features.strides, sizes, ratios or RATIOS)
        norm = partial(nn.GroupNorm, 32) if group_norm else None
        head = RetinaNetHead(channels, anchors.num_anchors_per_location()[0], outputs, norm)
        head.regression_head._loss_type = box_loss or "l1"  # as torchvision's own builder sets it
        limits = self.selection.torchvision
        self.net = detection.RetinaNet(_Given(channels), outputs, anchor_generator=anchors, head=head, **limits)

    def losses(
        self, targets: list[Target], outputs: dict[str, Tensor], anchors: list[Tensor], cells: list[int]
    ) -> dict[str, Tensor]:
        return self.net.compute_loss(targets, outputs, anchors)


class FCOS(OneStage):
    """FCOS, anchor-free: each cell predicts distances to the sides of its object, and centerness (Tian et al. 2019).

    torchvision's; its names follow `net`. Wants a neck FPN with `levels: 3` and `extra: p6p7`. Losses:
    classifier, box (GIoU), centerness.

    Args:
        features: feature pyramid of the neck, all maps with equal channels.
        outputs: number of classes C.
        radius: a cell is of an object when its center is that many strides from the object's, at most.

    Raises:
        ConfigError: maps of different channels, or channels that do not fall into 32 groups.
    """

    def __init__(self, features: Features, outputs: int, radius: float = 1.5, **kwargs):
        super().__init__(**kwargs)
        channels = _in_groups(equal_channels(features, "FCOS"), "FCOS")
        cells = Anchors(features.strides, [float(stride) for stride in features.strides], (1.0,))
        limits = self.selection.torchvision
        self.net = detection.FCOS(
            _Given(channels), outputs, anchor_generator=cells, center_sampling_radius=radius, **limits
        )

    @property
    def anchors(self) -> None:
        return None

    def losses(
        self, targets: list[Target], outputs: dict[str, Tensor], anchors: list[Tensor], cells: list[int]
    ) -> dict[str, Tensor]:
        return self.net.compute_loss(targets, outputs, anchors, cells)


class SSD(OneStage):
    """SSD: default boxes on maps of many sizes, each with its own convolution (Liu et al. 2016). torchvision's.

    Works on the backbone's own maps (NoNeck) or a neck's: coarser ones are added until there are `levels`. Losses:
    classifier, box.

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C, without background.
        anchor_sizes: sides of the default squares in pixels, one for each map, ascending; null is 4 strides.
        ratios: of the other default boxes: each stands and lies; null is 2 and 3.
        levels: maps in all; null is as many as there are anchor sizes, else 6.
        finest: stride of the finest map to use.

    Raises:
        ConfigError: no map of stride `finest` or coarser, or another number of anchor sizes than of maps.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        anchor_sizes: list[float] | None = None,
        ratios: list[float] | None = None,
        levels: int | None = None,
        finest: int = 8,
        **kwargs,
    ):
        super().__init__(**kwargs)
        levels = len(anchor_sizes or range(6)) if levels is None else levels
        check_sizes("head", levels=levels, finest=finest)
        self.used = [i for i, stride in enumerate(features.strides) if stride >= finest][:levels]
        if not self.used:
            raise ConfigError(f"head.finest is {finest}, but the maps have strides {features.strides}: choose one")
        channels, strides = ([values[i] for i in self.used] for values in features)
        self.extra = nn.ModuleList()
        while len(strides) < levels:
            self.extra.append(_coarser(channels[-1]))
            channels, strides = [*channels, 256], [*strides, 2 * strides[-1]]
        self.given_anchors = anchor_sizes is not None or ratios is not None
        anchors = DefaultBoxes(strides, anchor_sizes or [4.0 * stride for stride in strides], ratios or [2.0, 3.0])
        head = SSDHead(channels, anchors.num_anchors_per_location(), outputs + 1)
        size = (1, 1)  # of torchvision's own resizing, which is not used
        limits = self.selection.torchvision
        self.net = detection.ssd.SSD(_Given(channels), anchors, size, outputs + 1, head=head, **limits)

    def forward(
        self,
        image: Tensor,
        maps: list[Tensor],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        targets = None if targets is None else from_background(targets)
        return super().forward(image, self.levels(maps), inside, targets)

    def levels(self, maps: list[Tensor]) -> list[Tensor]:
        """The maps that are used, and coarser ones."""
        maps = [maps[i] for i in self.used]
        for layer in self.extra:
            maps.append(layer(maps[-1]))
        return maps

    def losses(
        self, targets: list[Target], outputs: dict[str, Tensor], anchors: list[Tensor], cells: list[int]
    ) -> dict[str, Tensor]:
        none = torch.full((len(anchors[0]),), -1, device=anchors[0].device)
        matched = [
            self.net.proposal_matcher(box_iou(target["boxes"], each)) if len(target["boxes"]) else none
            for target, each in zip(targets, anchors, strict=True)
        ]
        losses = self.net.compute_loss(targets, outputs, anchors, matched)
        empty = torch.tensor([len(target["boxes"]) == 0 for target in targets], device=anchors[0].device)
        if empty.any():  # torchvision's has three negatives for each object, so none where there is none
            logits = outputs["cls_logits"][empty]
            background = cross_entropy(logits.transpose(1, 2), none.new_zeros(logits.shape[:2]), reduction="none")
            objects = sum((each >= 0).sum() for each in matched)
            losses["classification"] += background.topk(3, 1).values.sum() / objects.clamp(min=1)
        return losses

    def decode(
        self, outputs: dict[str, Tensor], anchors: list[Tensor], shapes: list[tuple[int, int]], cells: list[int]
    ) -> list[Detection]:
        found = self.net.postprocess_detections(outputs, anchors, shapes)
        return [{**each, "labels": each["labels"] - 1} for each in found]


class _Given(nn.Module):
    """In place of the backbone that torchvision's detectors ask for: maps are given."""

    def __init__(self, channels: int | list[int]):
        super().__init__()
        self.out_channels = channels


def _in_groups(channels: int, head: str) -> int:
    if channels % 32:
        raise ConfigError(f"{head} normalizes 32 groups of channels, but the maps have {channels}: set neck.channels")
    return channels


def _coarser(channels: int) -> nn.Sequential:
    layers = [nn.Conv2d(channels, 128, 1), nn.ReLU(True), nn.Conv2d(128, 256, 3, 2, 1), nn.ReLU(True)]
    for layer in layers[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
