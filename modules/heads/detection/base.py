"""Base classes of detection heads: score filtering, NMS and anchors."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
from torch import Tensor
from torchvision.models.detection.image_list import ImageList

from modules.contracts import ConfigError, Features
from modules.decoding.boxes import Detection, Selection
from modules.heads.base import Head
from modules.heads.detection.anchors import Anchors

RATIOS = (0.5, 1.0, 2.0)
MIN_RECALL = 0.9  # recall of the training boxes that anchors should have
Target = dict[str, Tensor]
Maps = list[Tensor] | Callable[[Tensor], list[Tensor]]


class Detector(Head):
    """Common part of `DetectionHead`, `InstanceHead` and `KeypointHead`, the bases to derive from.

    Thresholds and sizes of boxes are in pixels of the network's images. Scores and losses are float32 under autocast.

    Args:
        score_threshold: lowest score of a detection, 0..1.
        nms_threshold: IoU of non-maximum suppression (NMS), 0..1: of two detections above it only the better one stays.
        agnostic_nms: NMS across classes too.
        soft_nms: lower the score of a box that overlaps a better one instead of dropping it, Gaussian with sigma 0.5
            (Bodla et al. 2017); nms_threshold then does nothing.
        detections: most in one image.

    Raises:
        ConfigError: a threshold outside of 0..1, or no detections.

    Class attribute: `crops` marks heads that crop the image; they get, in place of maps, the function from images
    to maps; `exact_masks` those whose masks lie exactly over their boxes (`modules.decoding.masks.paste`).
    `given_anchors` says whether sizes or ratios of anchors were given.
    """

    crops: ClassVar[bool] = False
    exact_masks: ClassVar[bool] = False
    given_anchors: bool = False

    def __init__(
        self,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        agnostic_nms: bool = False,
        soft_nms: bool = False,
        detections: int = 100,
    ):
        super().__init__()
        self.selection = Selection(score_threshold, nms_threshold, agnostic_nms, soft_nms, detections)

    @abstractmethod
    def forward(
        self,
        image: Tensor,
        maps: Maps,
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """Detections, in evaluation, and losses, where there are targets.

        Args:
            image: (B, 3, H, W), normalized.
            maps: fine to coarse.
            inside: int64 (B, 2): height and width of the part of each image that is no padding.
            targets: one per image: `boxes` float32 (N, 4) xyxy with an area, `labels` int64 (N,) in 0..C-1, and for
                instances `masks` uint8 (N, H, W), for keypoints `keypoints` float32 (N, K, 3), x, y and visibility. N
                may be 0. Must be there in training.
            proposals: float32 (R, 4) xyxy of each image, for heads that do not make their own.

        Returns:
            One dict per image, best first: `boxes` float32 (N, 4) xyxy, `scores` (N,) in 0..1, `labels` (N,) in
            0..C-1, for instances `mask_probabilities` (N, M, M) over the boxes, for keypoints `keypoints` (N, K, 3), x,
            y and score in 0..1; none in training. Scalar losses by name.
        """

    def proposals_from(self, given: bool) -> str | None:
        """A line about the source of the region proposals, when it is not the head itself.

        Args:
            given: whether the data has proposals.

        Raises:
            ConfigError: the head has no use for them, or misses them.
        """
        if given:
            raise ConfigError(
                f"{self.title} looks at no proposals: leave --data.proposals out, or choose the head FastRCNN or RCNN"
            )
        return None

    def places_for(self, counts: np.ndarray) -> str | None:
        """A line about training images with more objects than the head has places for; null where all have one.

        Args:
            counts: objects of each training image, int64 (N,).
        """

    @property
    def anchors(self) -> Anchors | None:
        """Anchor boxes of the head; null without."""
        return None

    def settle_anchors(self, wh: np.ndarray, fit: bool | None) -> str | None:
        """Measure the anchors' recall of the training boxes, and fit them where that is wanted or needed.

        Args:
            wh: (N, 2) widths and heights in pixels of the network's images.
            fit: true fits them, false never does; null fits the head's own where they reach too few boxes.

        Returns:
            A line about the anchors; null for a head without, or without boxes.

        Raises:
            ConfigError: fitting a head without anchors, or without boxes.
        """
        if not fit and (self.anchors is None or not len(wh)):
            return None
        fitting = fit or (fit is None and not self.given_anchors and self.anchors.recall(wh) < MIN_RECALL)
        line = self.fit_anchors(wh) if fitting else ""
        recall = self.anchors.recall(wh)
        line = line or f"anchors reach {100 * recall:.1f} % of {len(wh):,} training boxes (recall at IoU 0.5)"
        if recall >= MIN_RECALL:
            return line
        remedy = (
            "raise --data.image_size, or take more levels of the neck" if fitting else "add --model.fit_anchors true"
        )
        return f"warning: {line}; what no anchor reaches is rarely found: {remedy}"

    def fit_anchors(self, wh: np.ndarray) -> str:
        """Fit the anchors to boxes of the widths and heights (N, 2); returns a line about the change.

        Raises:
            ConfigError: a head without anchors, or no boxes.
        """
        if self.anchors is None:
            raise ConfigError(f"{self.title} has no anchors to fit: leave --model.fit_anchors out")
        return self.anchors.fit(wh)


class DetectionHead(Detector):
    """Base of heads that find boxes, classes and scores; `outputs` is the number of classes without background."""


class InstanceHead(Detector):
    """Base of heads that find boxes, classes, scores and a mask in each box; `outputs` as of `DetectionHead`."""


class KeypointHead(Detector):
    """Base of heads that find boxes, classes, scores and keypoints of each object; `outputs` as of `DetectionHead`."""

    @abstractmethod
    def make_keypoints(self, count: int) -> None:
        """Make the layers for that many keypoints, with initial weights; the task calls it once, after `__init__`."""


def image_list(image: Tensor, inside: Tensor) -> ImageList:
    """Images of different sizes in one tensor, as torchvision's ImageList."""
    return ImageList(image, [(height, width) for height, width in inside.tolist()])


def equal_channels(features: Features, head: str) -> int:
    """The channels of all maps.

    Raises:
        ConfigError: they differ.
    """
    if len(set(features.channels)) > 1:
        raise ConfigError(f"{head} needs maps of equal channels, not {features.channels}: put the neck FPN before it")
    return features.channels[0]


def from_background(targets: list[Target]) -> list[Target]:
    """Labels 1..C, for heads whose class 0 is the background."""
    return [{**target, "labels": target["labels"] + 1} for target in targets]
