"""Two-stage detectors of exported graphs: region proposals and RoI heads in fixed sizes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import roi_align

from modules.export.detection import Grouped, Objects, best, clipped, decoded, kept, large, objects, picked, select
from modules.heads.detection.faster_rcnn import TwoStage
from modules.heads.detection.pooling import SAMPLES
from modules.heads.detection.regions import Proposals


@objects.register
def _(head: TwoStage, maps: list[Tensor], inside: Tensor) -> Objects:
    size = inside.float()
    roi: Any = head.roi_heads
    proposals, objectness = proposed(head.rpn, maps, size)
    place = objectness.nonzero().unbind(1)
    boxes = proposals[place]
    logits, deltas = roi.box_predictor(roi.box_head(pooled(roi.box_roi_pool, maps, place[0], boxes)))
    boxes = clipped(roi.box_coder.decode_single(deltas, boxes).unflatten(1, (-1, 4))[:, 1:], size)
    scores = logits.softmax(-1)[:, 1:]
    scores = scores * (scores > head.selection.score_threshold) * large(boxes)
    room = boxes.new_zeros(*objectness.shape, boxes.shape[1], 5)
    every = room.index_put(place, torch.cat([boxes, scores[..., None]], -1)).transpose(1, 2)
    found = select(Grouped(every[..., :4], every[..., 4], 1), head.selection)
    return found._replace(masks=masks(head, maps, found)) if roi.has_mask() else found


def proposed(rpn: Proposals, maps: list[Tensor], size: Tensor) -> tuple[Tensor, Tensor]:
    """Region proposals (B, R, 4) and their ranks (B, R), 0 where there is none; `size` (2,) is that of the images.

    Ranks are those of the logits: the sigmoid of onnxruntime is 0 below about -17.7 and disordered below -15.
    """
    objectness, deltas = ([each.float() for each in level] for level in rpn.head(maps))
    counts = [each.shape[1] * each.shape[2] * each.shape[3] for each in objectness]
    (anchors,) = rpn.anchor_generator(ImageList(maps[0], [(0, 0)]), maps)
    objectness, deltas = concat_box_prediction_layers(objectness, deltas)
    objectness, deltas = objectness.view(maps[0].shape[0], -1), deltas.view(maps[0].shape[0], -1, 4)
    levels, most = [], rpn.pre_nms_top_n()
    for logits, delta, anchor in zip(
        objectness.split(counts, 1), deltas.split(counts, 1), anchors.split(counts), strict=True
    ):
        logits, which = pad(logits, (0, most), value=-torch.inf).topk(most)
        real = logits > -torch.inf
        which = torch.where(real, which, 0)
        boxes = clipped(decoded(rpn.box_coder, picked(delta, which), anchor[which]), size)
        ranks = torch.where(logits > 0, 1 + logits, 1 / (1 - logits))  # positive; 0 of -inf
        levels.append((boxes, ranks * large(boxes, rpn.min_size)))
    boxes, scores = (torch.stack(each, 1) for each in zip(*levels, strict=True))
    scores = scores * kept(Grouped(boxes, scores, 0), rpn.nms_thresh)
    scores, which = best(scores.flatten(1), rpn.post_nms_top_n())
    return picked(boxes.flatten(1, 2), which), scores


def pooled(pool: Any, maps: list[Tensor], rows: Tensor, boxes: Tensor) -> Tensor:
    """Features (K, C, s, s) of boxes (K, 4) in images of the numbers `rows` (K,), each from the map of its size.

    `pool` is a `modules.heads.detection.pooling.RoIAlign`.
    """
    rois = torch.cat([rows[:, None].float(), boxes], 1)
    used = maps[: len(pool.scales)]
    levels = pool.map_levels([boxes]) if len(used) > 1 else torch.zeros_like(rows)
    found = maps[0].new_zeros(boxes.shape[0], maps[0].shape[1], *pool.output_size)
    for level, (each, scale) in enumerate(zip(used, pool.scales, strict=True)):
        here = (levels == level).nonzero()[:, 0]
        part = roi_align(each.float(), rois[here], pool.output_size, scale, SAMPLES)
        found = found.index_put((here,), part.to(found.dtype))
    return found


def masks(head: TwoStage, maps: list[Tensor], found: Objects) -> Tensor:
    """Probabilities (B, D, 28, 28) of the masks of objects, each that of its class."""
    roi: Any = head.roi_heads
    place = found.scores.nonzero().unbind(1)
    logits = roi.mask_predictor(roi.mask_head(pooled(roi.mask_roi_pool, maps, place[0], found.boxes[place])))
    labels = found.labels[place][:, None, None, None] + 1
    chosen = logits.gather(1, labels.expand(-1, 1, *logits.shape[2:]))[:, 0].sigmoid()
    return logits.new_zeros(*found.scores.shape, *logits.shape[2:]).index_put(place, chosen)
