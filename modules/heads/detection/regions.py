"""Region proposal network and RoI heads: torchvision's, with losses in evaluation too and IoU losses of boxes."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.roi_heads import (
    RoIHeads,
    fastrcnn_loss,
    heatmaps_to_keypoints,
    keypointrcnn_loss,
    maskrcnn_inference,
    maskrcnn_loss,
)
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import (
    clip_boxes_to_image,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    remove_small_boxes,
)

from modules.decoding.boxes import Detection, Selection
from modules.heads.detection.anchors import Anchors
from modules.heads.detection.base import Target

BoxLoss = Literal["smooth_l1", "giou", "diou"]
IOU_LOSSES = {"giou": generalized_box_iou_loss, "diou": distance_box_iou_loss}


class Proposals(RegionProposalNetwork):
    """Region proposal network, RPN (Ren et al. 2015).

    Args:
        channels: of the maps.
        anchors: anchor boxes.
        count: most proposals of an image in evaluation, and of each map before NMS; in training twice as many.
    """

    def __init__(self, channels: int, anchors: Anchors, count: int):
        most = {"training": 2 * count, "testing": count}
        head = RPNHead(channels, anchors.num_anchors_per_location()[0])
        super().__init__(anchors, head, 0.7, 0.3, 256, 0.5, most, most, 0.7)

    def forward(
        self, images: ImageList, features: dict[str, Tensor], targets: list[Target] | None = None
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Boxes (R, 4) of each image, and losses where there are targets."""
        maps = list(features.values())
        objectness, deltas = ([each.float() for each in level] for level in self.head(maps))
        counts = [each[0].numel() for each in objectness]
        anchors = self.anchor_generator(images, maps)
        objectness, deltas = concat_box_prediction_layers(objectness, deltas)
        decoded = self.box_coder.decode(deltas.detach(), anchors).view(len(anchors), -1, 4)
        boxes, _ = self.filter_proposals(decoded, objectness, images.image_sizes, counts)
        if targets is None:
            return boxes, {}
        labels, matched = self.assign_targets_to_anchors(anchors, targets)
        losses = self.compute_loss(objectness, deltas, labels, self.box_coder.encode(matched, anchors))
        return boxes, dict(zip(("rpn_objectness", "rpn_box"), losses, strict=True))


class Regions(RoIHeads):
    """RoI head: classification and box refinement of region proposals (Girshick 2015).

    Args:
        pool: maps and boxes to (R, channels, size, size).
        head: that to (R, width).
        width: of the features of each region.
        outputs: classes without background.
        selection: score filter and NMS of the detections.
        samples: regions of an image in training; a quarter of them are objects, if there are so many.
        box_loss: `smooth_l1` on offsets, which null is too, `giou` (Rezatofighi et al. 2019) or `diou` (Zheng et al.
            2020) on boxes.
    """

    def __init__(
        self,
        pool: nn.Module | None,
        head: nn.Module | None,
        width: int,
        outputs: int,
        selection: Selection,
        samples: int,
        box_loss: BoxLoss | None,
    ):
        predictor = _Boxes(width, outputs + 1)
        super().__init__(pool, head, predictor, 0.5, 0.5, samples, 0.25, None, **selection.torchvision)
        self.selection, self.box_loss = selection, box_loss or "smooth_l1"

    def forward(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: list[Target] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """As a `Detector`, but labels of targets are 1..C."""
        detections = [] if self.training else self.detect(features, proposals, image_shapes)
        losses = {} if targets is None else self.losses(features, proposals, image_shapes, targets)
        return detections, losses

    def describe(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        """Features of the boxes of all images, (all R, width)."""
        return self.box_head(self.box_roi_pool(features, boxes, shapes))

    def detect(
        self, features: dict[str, Tensor], proposals: list[Tensor], shapes: list[tuple[int, int]]
    ) -> list[Detection]:
        predicted = self.box_predictor(self.describe(features, proposals, shapes))
        found = zip(*self.postprocess_detections(*predicted, proposals, shapes), strict=True)
        found = [self.selection.select({"boxes": b, "scores": s, "labels": k - 1}) for b, s, k in found]
        if self.has_mask():
            logits = self._masks(features, [each["boxes"] for each in found], shapes)
            masks = maskrcnn_inference(logits, [each["labels"] + 1 for each in found])
            found = [{**each, "mask_probabilities": mask[:, 0]} for each, mask in zip(found, masks, strict=True)]
        if self.has_keypoint():
            boxes = [each["boxes"] for each in found]
            points = points_in(self._heatmaps(features, boxes, shapes), boxes)
            found = [{**each, "keypoints": those} for each, those in zip(found, points, strict=True)]
        return found

    def losses(
        self,
        features: dict[str, Tensor],
        proposals: list[Tensor],
        shapes: list[tuple[int, int]],
        targets: list[Target],
    ) -> dict[str, Tensor]:
        boxes, matched, labels, wanted = self.select_training_samples(proposals, targets)
        logits, deltas = self.box_predictor(self.describe(features, boxes, shapes))
        if len(logits) == 0:  # no proposal and no object in the whole batch: torch's mean would be nan
            classifier, box = logits.sum(), deltas.sum()
        else:
            classifier, box = fastrcnn_loss(logits, deltas, labels, wanted)
        if self.box_loss != "smooth_l1":
            box = self._iou_loss(deltas, boxes, matched, labels, targets)
        losses = {"classifier": classifier, "box": box}
        objects = [each > 0 for each in labels]
        boxes, matched = ([x[o] for x, o in zip(xs, objects, strict=True)] for xs in (boxes, matched))
        if self.has_mask() and (self.training or "masks" in targets[0]):
            truth = [[target[key] for target in targets] for key in ("masks", "labels")]
            losses["mask"] = maskrcnn_loss(self._masks(features, boxes, shapes), boxes, *truth, matched)
        if self.has_keypoint() and (self.training or "keypoints" in targets[0]):
            heat = self._heatmaps(features, boxes, shapes)
            losses["keypoint"] = keypointrcnn_loss(heat, boxes, [t["keypoints"] for t in targets], matched)
        return losses

    def check_targets(self, targets: list[Target]) -> None:
        """Nothing: torchvision's wants masks in evaluation too."""

    def _iou_loss(
        self, deltas: Tensor, boxes: list[Tensor], matched: list[Tensor], labels: list[Tensor], targets: list[Target]
    ) -> Tensor:
        """GIoU or DIoU loss: sum over the positive regions, divided by the number of all, as smooth L1 is averaged."""
        truth = [t["boxes"][m[k > 0]] for t, m, k in zip(targets, matched, labels, strict=True)]
        kinds = torch.cat(labels)
        objects = kinds > 0
        chosen = deltas.unflatten(1, (-1, 4))[objects, kinds[objects]]
        decoded = self.box_coder.decode_single(chosen, torch.cat(boxes)[objects])
        return IOU_LOSSES[self.box_loss](decoded, torch.cat(truth), reduction="sum") / max(1, len(kinds))

    def _heatmaps(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        parts: Any = self
        pooled = parts.keypoint_roi_pool(features, boxes, shapes)
        # torchvision's loss cannot take channels last
        return parts.keypoint_predictor(parts.keypoint_head(pooled)).float().contiguous()

    def _masks(self, features: dict[str, Tensor], boxes: list[Tensor], shapes: list[tuple[int, int]]) -> Tensor:
        return self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes, shapes)))


class _Boxes(FastRCNNPredictor):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        logits, deltas = super().forward(x)
        return logits.float(), deltas.float()


class Masks(MaskRCNNPredictor):
    """torchvision's, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


def points_in(heat: Tensor, boxes: list[Tensor]) -> list[Tensor]:
    """Keypoints (R, K, 3) of the boxes (R, 4) of each image, x, y and score, from their heat maps (all R, K, s, s).

    The place is torchvision's, the highest value of the map resized to the box; its score is the softmax over the map.
    """
    parts = heat.split([len(each) for each in boxes])
    found = []
    for maps, each in zip(parts, boxes, strict=True):
        places, highest = heatmaps_to_keypoints(maps, each)
        scores = (highest - maps.flatten(2).logsumexp(2)).exp().clamp(max=1)
        found.append(torch.cat([places[..., :2], scores[..., None]], 2))
    return found


def usable(proposals: list[Tensor], shapes: list[tuple[int, int]]) -> list[Tensor]:
    """Given proposals, cut at the border of the image; those of less than a pixel are left out."""
    cut = [clip_boxes_to_image(each.float(), shape) for each, shape in zip(proposals, shapes, strict=True)]
    return [each[remove_small_boxes(each, 1.0)] for each in cut]
