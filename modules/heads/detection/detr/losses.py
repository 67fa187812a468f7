"""Costs of the matching and losses of a set of answers (Carion et al. 2020; Zhao et al. 2024). Pure functions."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, one_hot
from torchvision.ops import box_convert, sigmoid_focal_loss

from modules.heads.detection.detr.decoder import Answers
from modules.heads.detection.detr.targets import Noise, Objects
from modules.heads.queries.matching import match

COST = {"classifier": 2.0, "box": 5.0, "giou": 2.0}
WEIGHT = {"classifier": 1.0, "box": 5.0, "giou": 2.0}
FOCAL_ALPHA, VARIFOCAL_ALPHA, GAMMA = 0.25, 0.75, 2.0
ClassLoss = Literal["varifocal", "focal"]


class Matched(NamedTuple):
    """Pairs of queries and objects: int64 (K,) each, the number of the image, of the query in it and of the object."""

    images: Tensor
    queries: Tensor
    objects: Tensor


def overlap(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU (Rezatofighi et al. 2019) of boxes xyxy (..., 4), whose shapes broadcast."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (one, other)]
    union = areas[0] + areas[1] - common
    iou = common / union.clamp(min=1e-9)
    low, high = torch.minimum(one[..., :2], other[..., :2]), torch.maximum(one[..., 2:], other[..., 2:])
    hull = (high - low).prod(-1)
    return iou, iou - (hull - union) / hull.clamp(min=1e-9)


def corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) cxcywh as xyxy."""
    return box_convert(boxes, "cxcywh", "xyxy")


@torch.no_grad()
def costs(answers: Answers, objects: Objects) -> Tensor:
    """Cost (B, Q, M) of giving each object to each query: that of the focal loss, L1 and generalized IoU."""
    positive = FOCAL_ALPHA * (1 - answers.logits.sigmoid()) ** GAMMA * -logsigmoid(answers.logits)
    negative = (1 - FOCAL_ALPHA) * answers.logits.sigmoid() ** GAMMA * -logsigmoid(-answers.logits)
    labels = objects.labels[:, None].expand(-1, answers.logits.shape[1], -1)
    classifier = (positive - negative).gather(2, labels)
    box = (answers.boxes[:, :, None] - objects.boxes[:, None]).abs().sum(-1)
    giou = -overlap(corners(answers.boxes)[:, :, None], corners(objects.boxes)[:, None])[1]
    return COST["classifier"] * classifier + COST["box"] * box + COST["giou"] * giou


def matched(answers: Answers, objects: Objects, queries: list[int]) -> Matched:
    """Pairs of the lowest total cost; of each image the first `queries` take part."""
    each = costs(answers, objects)
    pairs = match([cost[:many, :count] for cost, many, count in zip(each, queries, objects.counts, strict=True)])
    counts = torch.tensor([len(one) for one, _ in pairs], device=each.device)
    images = torch.arange(len(pairs), device=each.device).repeat_interleave(counts)
    return Matched(images, *(torch.cat(side) for side in zip(*pairs, strict=True)))


def denoised(objects: Objects, noise: Noise) -> Matched:
    """Pairs of denoising queries and the objects that they are to find, in each group."""
    images, found = objects.real.nonzero().unbind(1)
    starts = torch.arange(noise.groups, device=found.device) * 2 * objects.labels.shape[1]
    queries = (starts[:, None] + found).flatten()
    return Matched(images.repeat(noise.groups), queries, found.repeat(noise.groups))


def set_losses(answers: Answers, real: Tensor, objects: Objects, pairs: Matched, kind: ClassLoss) -> dict[str, Tensor]:
    """Weighted sums of the losses over all answers: classifier, box (L1) and giou.

    Args:
        answers: (B, Q, ...).
        real: bool (B, Q); the others count for nothing.
        objects: of the B images.
        pairs: which query is to find which object; all others are to find none.
        kind: `focal` wants 1 of the class of the object, `varifocal` the IoU of the query's box with it.
    """
    here = pairs.images, pairs.queries
    boxes, truth = answers.boxes[here], objects.boxes[pairs.images, pairs.objects]
    iou, giou = overlap(corners(boxes), corners(truth))
    label = one_hot(objects.labels[pairs.images, pairs.objects], answers.logits.shape[2]).float()
    wanted = torch.zeros_like(answers.logits)
    wanted[here] = label
    if kind == "focal":
        classifier = sigmoid_focal_loss(answers.logits, wanted, FOCAL_ALPHA, GAMMA)
    else:
        weight = VARIFOCAL_ALPHA * answers.logits.detach().sigmoid() ** GAMMA * (1 - wanted)
        wanted = wanted.index_put(here, label * iou.detach().clamp(min=0)[:, None])
        classifier = binary_cross_entropy_with_logits(answers.logits, wanted, weight + wanted, reduction="none")
    sums = {
        "classifier": (classifier * real[..., None]).sum(),
        "box": (boxes - truth).abs().sum(),
        "giou": (1 - giou).sum(),
    }
    return {name: WEIGHT[name] * value for name, value in sums.items()}
