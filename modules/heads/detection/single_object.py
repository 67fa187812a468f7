"""Classify and locate: the head for images of one object."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, smooth_l1_loss
from torchvision.ops import box_area, box_convert, clip_boxes_to_image

from modules.contracts import Features, check_range, check_sizes
from modules.decoding.boxes import Detection
from modules.heads.detection.base import DetectionHead, Target
from modules.heads.detection.regions import IOU_LOSSES, BoxLoss


class SingleObject(DetectionHead):
    """One class and one box per image, from the coarsest map pooled to 7 x 7 cells: wants NoNeck.

    The largest object of an image is the one that counts; an image without any teaches that there may be none.
    Losses: classifier (cross-entropy), box (over images with an object).

    Args:
        features: feature pyramid of the backbone or neck.
        outputs: number of classes C, without background.
        hidden: width of the layer before the two answers.
        dropout: share of it that is set to zero in training, 0..1.
        box_loss: `smooth_l1` on middle and size in shares of the image, which null is too, `giou` or `diou` on boxes.
    """

    def __init__(
        self,
        features: Features,
        outputs: int,
        hidden: int = 1024,
        dropout: float = 0.0,
        box_loss: BoxLoss | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_sizes("head", hidden=hidden)
        check_range("head.dropout", dropout, high=1)
        self.selection = replace(self.selection, detections=1)  # with test-time augmentation too
        width = features.channels[-1] * 7**2
        self.trunk = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.classifier, self.box = nn.Linear(hidden, outputs + 1), nn.Linear(hidden, 4)
        self.box_loss = box_loss or "smooth_l1"

    def forward(
        self,
        image: Tensor,
        maps: list[Tensor],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        hidden = self.trunk(adaptive_avg_pool2d(maps[-1], 7).flatten(1))
        logits, shares = self.classifier(hidden).float(), self.box(hidden).float().sigmoid()
        losses = {} if targets is None else self._losses(logits, shares, _largest(targets), image)
        if self.training:
            return [], losses
        boxes = box_convert(shares, "cxcywh", "xyxy") * _scale(image)
        scores, labels = logits.softmax(1)[:, 1:].max(1)
        found = []
        for i, shape in enumerate(inside.tolist()):
            box = clip_boxes_to_image(boxes[i : i + 1], tuple(shape))
            one = {"boxes": box, "scores": scores[i : i + 1], "labels": labels[i : i + 1]}
            sure = one["scores"] > self.selection.score_threshold
            found.append(self.selection.select({key: values[sure] for key, values in one.items()}))
        return found, losses

    def _losses(self, logits: Tensor, shares: Tensor, truth: Target, image: Tensor) -> dict[str, Tensor]:
        objects, scale = truth["labels"] > 0, _scale(image)
        found, wanted = shares[objects], truth["boxes"][objects] / scale
        if self.box_loss == "smooth_l1":
            box = smooth_l1_loss(found, box_convert(wanted, "xyxy", "cxcywh"), beta=1 / 9, reduction="sum")
        else:
            found = box_convert(found, "cxcywh", "xyxy")
            box = IOU_LOSSES[self.box_loss](found * scale, wanted * scale, reduction="sum")
        return {"classifier": cross_entropy(logits, truth["labels"]), "box": box / objects.sum().clamp(min=1)}


def _largest(targets: list[Target]) -> Target:
    """Largest object of each image: boxes (B, 4), labels (B,) in 0..C, 0 where there is no object."""
    boxes, labels = [], []
    for target in targets:
        if len(target["boxes"]):
            best = box_area(target["boxes"]).argmax()
            boxes.append(target["boxes"][best])
            labels.append(target["labels"][best] + 1)
        else:
            boxes.append(target["boxes"].new_zeros(4))
            labels.append(target["labels"].new_zeros(()))
    return {"boxes": torch.stack(boxes), "labels": torch.stack(labels)}


def _scale(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return torch.tensor([width, height, width, height], device=image.device)
