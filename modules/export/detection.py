"""Detectors of exported graphs: candidates in fixed sizes, their selection, and boxes in pixels of the original.

torchvision decodes image by image, in sizes that depend on the scores. Here an image has as many places for candidates
as it could have candidates; those without one have the score 0. All images of a batch show the same part.
"""

from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision.models.detection.image_list import ImageList

from modules.contracts import Backbone, ConfigError
from modules.decoding.boxes import CANDIDATES, Selection
from modules.decoding.tta import TiledTTA
from modules.export.nms import suppress
from modules.export.preprocess import Geometry
from modules.heads.detection import DETR, SSD, Detector, KeypointHead
from modules.heads.detection.detr.losses import corners
from modules.heads.detection.one_stage import OneStage
from modules.heads.queries import QueryInstances

FEW = 1000  # boxes up to which torchvision suppresses all classes at once, with boxes of each moved apart
SMALL = 1e-2  # pixels; boxes with a shorter side are dropped


class Grouped(NamedTuple):
    """Candidates of each image, those of a class in a group.

    Args:
        boxes: float32 (B, G, M, 4) xyxy in pixels of the network's image.
        scores: (B, G, M); 0 where there is none.
        first: number by which torchvision calls the first group.
    """

    boxes: Tensor
    scores: Tensor
    first: int


class Objects(NamedTuple):
    """Objects of each image, the best first.

    Args:
        boxes: float32 (B, D, 4).
        scores: (B, D); 0 where there is none.
        labels: int64 (B, D).
        masks: probabilities (B, D, M, M) over each box, of detectors that have them.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None


class ObjectFinder(nn.Module):
    """Objects of images: D places each, the best first, of which `count` are filled.

    Returns boxes float32 (B, D, 4) xyxy in pixels of the original, scores (B, D), labels int64 (B, D), of heads with
    masks their probabilities (B, D, M, M) over the boxes, and count int64 (B,).

    Args:
        backbone: of the network.
        neck: of the network.
        head: of the network.
    """

    def __init__(self, backbone: Backbone, neck: nn.Module, head: Detector):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head
        self.stride = max(backbone.features.strides)
        self.register_buffer("black", backbone.normalize(torch.zeros(1, backbone.in_channels, 1, 1)))

    def forward(self, image: Tensor, geometry: Geometry) -> tuple[Tensor, ...]:
        image = alone(image, geometry.inside, self.stride, self.black)
        found = self.find(image, geometry.inside)
        size = torch.stack([torch.full((), side, dtype=torch.float32) for side in geometry.size])
        boxes = clipped(found.boxes * sides(size / geometry.inside.float()), size)
        real = found.scores > 0
        masks = () if found.masks is None else (found.masks,)
        return boxes * real[..., None], found.scores, found.labels * real, *masks, real.sum(1)

    def find(self, image: Tensor, inside: Tensor) -> Objects:
        """Objects of images (B, C, H, W), in their pixels; arguments as of `objects`."""
        return objects(self.head, self.neck(self.backbone(image)), inside)


def check_exportable(head: Detector, tiled: TiledTTA) -> None:
    """Check that a detector fits into a graph.

    Raises:
        ConfigError: its head, or a setting of its inference, does not; names it and the remedy.
    """
    kind = type(head)
    known = objects.dispatch(kind) is not objects.dispatch(object) or isinstance(head, QueryInstances)
    if isinstance(head, KeypointHead) or not known:  # places of keypoints are found object by object
        raise ConfigError(
            f"the head {head.title} cannot be exported: train with DETR, RetinaNet, FCOS, SSD, FasterRCNN or MaskRCNN"
        )
    if head.selection.soft_nms:
        raise ConfigError("head.soft_nms lowers scores one by one, which a graph cannot: set it to false to export")
    if tiled.tile_size:
        raise ConfigError("model.tile_size cuts images into tiles, which a graph cannot: set it to null to export")
    if tiled.tta.flip or tuple(tiled.tta.scales) != (1.0,):
        raise ConfigError("model.tta merges the boxes of several views, which a graph cannot: leave it out to export")


def alone(image: Tensor, inside: Tensor, stride: int, black: Tensor) -> Tensor:
    """The part of images (B, C, H, W) that shows them, padded with black to multiples of the stride."""
    high, wide = (inside / stride).ceil().long().tolist()
    for count in (high, wide):
        torch._check(count >= 1)
    rows, columns = torch.arange(high * stride), torch.arange(wide * stride)
    image = image.index_select(2, rows.clamp(max=image.shape[2] - 1))
    image = image.index_select(3, columns.clamp(max=image.shape[3] - 1))
    shown = (rows < inside[0])[:, None] & (columns < inside[1])
    return torch.where(shown, image, black.to(image.dtype))


@singledispatch
def objects(head: object, maps: list[Tensor], inside: Tensor) -> Objects:
    """Objects of images, in pixels of the network's.

    Args:
        head: detection head.
        maps: of the neck.
        inside: float64 (2,), height and width of the part that is no padding.
    """
    raise NotImplementedError


@objects.register
def _(head: OneStage, maps: list[Tensor], inside: Tensor) -> Objects:
    outputs, anchors, counts = predicted(head, maps)
    parts = []
    for level, boxes in enumerate(anchors.split(counts)):
        here = {name: values.split(counts, 1)[level] for name, values in outputs.items()}
        parts.append(best_of_map(head, here, boxes))
    boxes, scores, labels = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    classes = torch.arange(outputs["cls_logits"].shape[-1])[:, None]
    grouped = scores[:, None] * (labels[:, None] == classes)
    boxes = clipped(boxes, inside.float())[:, None].expand(-1, len(classes), -1, -1)
    return select(Grouped(boxes, grouped, 0), head.selection)


@objects.register
def _(head: SSD, maps: list[Tensor], inside: Tensor) -> Objects:
    outputs, anchors, _ = predicted(head, head.levels(maps))
    boxes = decoded(head.net.box_coder, outputs["bbox_regression"], anchors)
    scores = outputs["cls_logits"].softmax(-1).transpose(1, 2)[:, 1:]
    most: Any = head.net.topk_candidates
    scores, which = best(scores * (scores > head.selection.score_threshold), most)
    boxes = clipped(picked(boxes, which.flatten(1)), inside.float())
    return select(Grouped(boxes.unflatten(1, which.shape[1:]), scores, 1), head.selection)


@objects.register
def _(head: DETR, maps: list[Tensor], inside: Tensor) -> Objects:
    queries, _, answers = head.answers(maps, inside[None].expand(maps[0].shape[0], -1))
    scores = head.scores(queries, answers)
    classes = scores.shape[-1]
    boxes = clipped(corners(answers.boxes[-1]) * sides(inside.float()), inside.float())
    scores = scores.flatten(1)
    scores, which = best(scores * (scores > head.selection.score_threshold), head.selection.detections)
    boxes, labels = picked(boxes, which // classes), which % classes
    scores, which = best(scores * large(boxes), head.selection.detections)
    return Objects(picked(boxes, which), scores, labels.gather(1, which))


def predicted(head: OneStage, maps: list[Tensor]) -> tuple[dict[str, Tensor], Tensor, list[int]]:
    """Outputs (B, N, ...) by torchvision's names, anchors (N, 4), and the number of those of each map."""
    net: Any = head.net
    outputs = {name: each.float() for name, each in net.head(maps).items()}
    generator = net.anchor_generator
    (anchors,) = generator(ImageList(maps[0], [(0, 0)]), maps)
    each = generator.num_anchors_per_location()
    return outputs, anchors, [m.shape[-2] * m.shape[-1] * here for m, here in zip(maps, each, strict=True)]


def best_of_map(head: OneStage, outputs: dict[str, Tensor], anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, K, 4), scores and labels (B, K) of the best candidates of a map."""
    scores = outputs["cls_logits"].sigmoid()
    classes = scores.shape[-1]
    if "bbox_ctrness" in outputs:
        scores = (scores * outputs["bbox_ctrness"].sigmoid()).sqrt()
    scores = scores.flatten(1)
    net: Any = head.net
    scores, which = best(scores * (scores > head.selection.score_threshold), net.topk_candidates)
    cells = which // classes
    boxes = decoded(net.box_coder, picked(outputs["bbox_regression"], cells), anchors[cells])
    return boxes, scores, which % classes


def decoded(coder: Any, deltas: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (B, M, 4) of predicted deltas (B, M, 4) and anchors (M, 4) or (B, M, 4)."""
    anchors = anchors.expand(deltas.shape[0], -1, -1)
    decode = getattr(coder, "decode_single", None) or coder.decode
    return decode(deltas.flatten(0, 1), anchors.flatten(0, 1)).view(deltas.shape)


def select(candidates: Grouped, selection: Selection) -> Objects:
    """The objects among candidates, as torchvision's detectors and `Selection.select` find them."""
    boxes, scores = candidates.boxes, candidates.scores
    if not selection.agnostic_nms:
        scores = scores * kept(candidates, selection.nms_threshold)
    room = CANDIDATES if selection.agnostic_nms else selection.detections
    number = boxes.shape[2]
    scores, which = best(scores.flatten(1), room)
    boxes, labels = picked(boxes.flatten(1, 2), which), which // number
    scores = scores * large(boxes)
    if selection.agnostic_nms:
        scores = scores * suppress(boxes, scores, selection.nms_threshold)
    scores, which = best(scores, selection.detections)
    return Objects(picked(boxes, which), scores, labels.gather(1, which))


def kept(candidates: Grouped, threshold: float) -> Tensor:
    """The candidates that remain after suppression within each group, bool (B, G, M).

    Of few boxes, torchvision rounds the places in float32 by moving the groups apart: the same is done here.
    """
    boxes, scores, first = candidates
    count, groups = scores.shape[:2]
    real = scores > 0
    apart = (boxes.amax(-1) * real).amax((1, 2)) + 1
    moved = torch.where(real.sum((1, 2)) <= FEW, apart, 0.0)[:, None] * torch.arange(first, first + groups)
    boxes = (boxes + moved[..., None, None]).flatten(0, 1)
    return suppress(boxes, scores.flatten(0, 1), threshold).view(count, groups, -1)


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest scores along the last axis and their indices, so many: filled with 0 if there are fewer."""
    scores, which = pad(scores, (0, count)).topk(count)
    return scores, torch.where(scores > 0, which, 0)


def picked(values: Tensor, which: Tensor) -> Tensor:
    """Rows (B, K, 4) of values (B, N, 4) by their indices (B, K)."""
    return values.gather(1, which[..., None].expand(-1, -1, 4))


def clipped(boxes: Tensor, size: Tensor) -> Tensor:
    """Boxes (..., 4) cut at the border of images of a height and width (2,)."""
    return torch.minimum(boxes.clamp_min(0), sides(size))


def large(boxes: Tensor, least: float = SMALL) -> Tensor:
    """True for boxes (..., 4) that are not dropped as too small, as `torchvision.ops.remove_small_boxes` does."""
    return (boxes[..., 2:] - boxes[..., :2] >= least).all(-1)


def sides(size: Tensor) -> Tensor:
    """Height and width (2,) as those of x, y, x, y."""
    return size.flip(0).repeat(2)
