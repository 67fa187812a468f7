"""Two-stage detectors with a region proposal network: Faster R-CNN, Mask R-CNN and Keypoint R-CNN."""

from torch import Tensor
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.keypoint_rcnn import KeypointRCNNHeads, KeypointRCNNPredictor
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads

from modules.contracts import Features, check_sizes
from modules.decoding.boxes import Detection
from modules.heads.detection.anchors import Anchors
from modules.heads.detection.base import (
    RATIOS,
    DetectionHead,
    Detector,
    InstanceHead,
    KeypointHead,
    Target,
    equal_channels,
    from_background,
    image_list,
)
from modules.heads.detection.pooling import RoIAlign, named
from modules.heads.detection.regions import BoxLoss, Masks, Proposals, Regions


class TwoStage(Detector):
    """Region proposal network, then RoI head; torchvision's, with its names. Wants a neck FPN with `extra: pool`.

    Args:
        features: feature pyramid of the neck, all maps with equal channels.
        outputs: number of classes C, without background.
        anchor_sizes: square root of an anchor's area in pixels, ascending: one for each map, or the same number for
            each; null is 8 strides of each map.
        ratios: height / width of the anchors; null is 0.5, 1 and 2.
        proposals: most proposals in an image in evaluation; training keeps twice as many.
        samples: proposals of an image in each training step; null is 512, fewer are faster.
        hidden: width of the two hidden layers of each proposal.
        box_loss: of the second stage: `smooth_l1` on offsets, which null is too, `giou` or `diou` on boxes.

    Raises:
        ConfigError: maps of different channels, or anchor sizes that maps cannot share evenly.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        anchor_sizes: list[float] | None = None,
        ratios: list[float] | None = None,
        proposals: int = 1000,
        samples: int | None = None,
        hidden: int = 1024,
        box_loss: BoxLoss | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = equal_channels(features, type(self).__name__)
        sizes = anchor_sizes or [8.0 * stride for stride in features.strides]
        self.given_anchors = anchor_sizes is not None or ratios is not None
        self.rpn = Proposals(channels, Anchors(features.strides, sizes, ratios or RATIOS), proposals)
        self.pooled = features.strides[:4]  # the coarsest of a pyramid is for anchors alone
        head = TwoMLPHead(channels * 7**2, hidden)
        self.roi_heads = Regions(
            RoIAlign(self.pooled, 7), head, hidden, outputs, self.selection, samples or 512, box_loss
        )

    @property
    def anchors(self) -> Anchors:
        return self.rpn.anchor_generator

    def forward(
        self,
        image: Tensor,
        maps: list[Tensor],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; given proposals are ignored."""
        images, features = image_list(image, inside), named(maps)
        targets = None if targets is None else from_background(targets)
        proposals, first = self.rpn(images, features, targets)
        detections, second = self.roi_heads(features, proposals, images.image_sizes, targets)
        return detections, first | second


class FasterRCNN(TwoStage, DetectionHead):
    """Faster R-CNN: region proposal network, then RoI head (Ren et al. 2015; on pyramids, Lin et al. 2017).

    torchvision's, with its names. Wants a neck FPN with `extra: pool`. Losses: rpn_objectness, rpn_box, classifier,
    box.
    """


class MaskRCNN(TwoStage, InstanceHead):
    """Mask R-CNN: Faster R-CNN with a mask of 28 x 28 in each box, one for each class (He et al. 2017).

    torchvision's, with its names. One more loss: mask; in evaluation only where targets have masks.

    Args:
        features: feature pyramid of the neck, all maps with equal channels.
        outputs: number of classes C, without background.
        mask_channels: of the five convolutions of the mask head.

    Raises:
        ConfigError: as for `FasterRCNN`.
    """

    def __init__(self, features: Features, outputs: int, mask_channels: int = 256, **kwargs):
        super().__init__(features, outputs, **kwargs)
        regions = self.roi_heads
        regions.mask_roi_pool = RoIAlign(self.pooled, 14)
        regions.mask_head = MaskRCNNHeads(features.channels[0], (mask_channels,) * 4, 1)
        regions.mask_predictor = Masks(mask_channels, mask_channels, outputs + 1)


class KeypointRCNN(TwoStage, KeypointHead):
    """Keypoint R-CNN: Faster R-CNN with a heat map of 56 x 56 in each box for each keypoint (He et al. 2017).

    torchvision's, with its names. One more loss: keypoint, the cross-entropy over the places of a heat map; in
    evaluation only where targets have keypoints. Keypoints outside of a box are not found by it.

    Args:
        features: feature pyramid of the neck, all maps with equal channels.
        outputs: number of classes C, without background.
        keypoint_channels: of the convolutions before the heat maps.
        keypoint_layers: number of these convolutions.

    Raises:
        ConfigError: as for `FasterRCNN`.
    """

    def __init__(
        self, features: Features, outputs: int, keypoint_channels: int = 512, keypoint_layers: int = 8, **kwargs
    ):
        super().__init__(features, outputs, **kwargs)
        check_sizes("head", keypoint_channels=keypoint_channels, keypoint_layers=keypoint_layers)
        regions, self.keypoint_channels = self.roi_heads, keypoint_channels
        regions.keypoint_roi_pool = RoIAlign(self.pooled, 14)
        regions.keypoint_head = KeypointRCNNHeads(features.channels[0], (keypoint_channels,) * keypoint_layers)

    def make_keypoints(self, count: int) -> None:
        self.roi_heads.keypoint_predictor = KeypointRCNNPredictor(self.keypoint_channels, count)
