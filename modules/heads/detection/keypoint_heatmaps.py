"""Objects as points with keypoint heat maps, in the manner of CenterNet: one stage, one map, no anchors."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, max_pool2d, softplus
from torchvision.ops import clip_boxes_to_image

from modules.contracts import Features, check_sizes
from modules.decoding.boxes import Detection, suppress
from modules.heads.detection.base import KeypointHead, Target

PRIOR = -2.19  # logit of a center or keypoint before training: a probability of 0.1
PEAKS = 100  # highest peaks of each keypoint's heat map
LOWEST = 0.1  # score of a peak that a keypoint may move to
REACH, FARTHEST = 0.3, 2.0  # usual way to it, as a share of the object's longer side, and the longest in such ways
SPREAD = 0.54  # of the Gaussian around a point, as a share of the object (Liu et al. 2020, TTFNet)
SIZE_WEIGHT = 0.1


class KeypointHeatmaps(KeypointHead):
    """Objects as points (CenterNet, Zhou et al. 2019): centers, box sizes and keypoints on the finest map.

    The peaks of a heat map per class are the objects. Each tells the size of its box and the places of its keypoints,
    which then move to a near and high peak of the keypoint's own heat map, for precision. Losses: center, keypoint
    (focal losses of the heat maps), box, keypoint_offset, refine (L1, in cells).

    Args:
        features: feature pyramid of the neck, of which the finest map is used.
        outputs: number of classes C.
        channels: of the hidden layer of each of the five branches.
    """

    def __init__(self, features: Features, outputs: int, channels: int = 256, **kwargs):
        super().__init__(**kwargs)
        check_sizes("head", channels=channels)
        self.stride, self.sizes = features.strides[0], (features.channels[0], channels)
        self.center = _branch(*self.sizes, outputs, PRIOR)
        self.box = _branch(*self.sizes, 4)

    def make_keypoints(self, count: int) -> None:
        self.heat = _branch(*self.sizes, count, PRIOR)
        self.offset = _branch(*self.sizes, 2 * count)
        self.refine = _branch(*self.sizes, 2)

    def forward(
        self,
        image: Tensor,
        maps: Any,
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        branches = {"center": self.center, "box": self.box, "heat": self.heat, "offset": self.offset}
        outputs = {name: branch(maps[0]).float() for name, branch in (branches | {"refine": self.refine}).items()}
        losses = {} if targets is None else self._losses(outputs, targets)
        if self.training:
            return [], losses
        each = [{name: values[i] for name, values in outputs.items()} for i in range(len(image))]
        return [self._decode(one, shape) for one, shape in zip(each, inside.tolist(), strict=True)], losses

    def _losses(self, outputs: dict[str, Tensor], targets: list[Target]) -> dict[str, Tensor]:
        """Losses of a batch; L1 losses are means over objects or labeled keypoints."""
        heats, found, wanted = {"center": [], "heat": []}, {}, {}
        for i, target in enumerate(targets):
            here = {name: values[i] for name, values in outputs.items()}
            goal = self._goal(target, here)
            for name, maps in heats.items():
                maps.append(goal.pop(name))
            for name, (value, truth) in goal.items():
                found.setdefault(name, []).append(value)
                wanted.setdefault(name, []).append(truth)
        losses = {
            "center": focal_loss(outputs["center"], torch.stack(heats["center"])),
            "keypoint": focal_loss(outputs["heat"], torch.stack(heats["heat"])),
        }
        for name, parts in found.items():
            values, truth = torch.cat(parts), torch.cat(wanted[name])
            losses[name] = l1_loss(values, truth, reduction="sum") / max(1, len(values))
        return losses

    def _goal(self, target: Target, outputs: dict[str, Tensor]) -> dict[str, Tensor | tuple[Tensor, Tensor]]:
        """Heat maps of one image, and pairs of what is said at its objects and keypoints and what is true."""
        boxes, points = target["boxes"] / self.stride, target["keypoints"][..., :2] / self.stride
        size, shape = boxes[:, 2:] - boxes[:, :2], outputs["center"].shape[-2:]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        cell, spot = _cells(middle, shape), _cells(points, shape)
        labeled = target["keypoints"][..., 2] > 0
        object_of, kind = labeled.nonzero().unbind(1)
        sigma = (SPREAD * size + 1) / 6
        center = gaussians(cell, sigma, target["labels"], outputs["center"])
        heat = gaussians(spot[labeled], sigma[object_of], kind, outputs["heat"])
        box = _at(outputs["box"], cell)
        offset = _at(outputs["offset"], cell).unflatten(1, (-1, 2))
        goal = torch.cat([middle - cell, size], 1)
        weight = box.new_tensor([1, 1, SIZE_WEIGHT, SIZE_WEIGHT])
        refined = _at(outputs["refine"], spot[labeled])
        return {
            "center": center,
            "heat": heat,
            "box": (box * weight, goal * weight),
            "keypoint_offset": (offset[labeled], (points - cell[:, None])[labeled]),
            "refine": (refined, (points - spot)[labeled]),
        }

    def _decode(self, outputs: dict[str, Tensor], shape: list[int]) -> Detection:
        """Detections of one image whose height and width without padding is `shape`."""
        high, wide = (-(-side // self.stride) for side in shape)
        outputs = {name: values[:, :high, :wide] for name, values in outputs.items()}
        scores, cell, labels = peaks(outputs["center"].sigmoid(), self.selection.detections)
        sure = scores > self.selection.score_threshold
        scores, cell, labels = scores[sure], cell[sure], labels[sure]
        middle, size = _at(outputs["box"], cell).split(2, 1)
        middle, size = middle + cell, size.clamp(min=0)
        boxes = torch.cat([middle - size / 2, middle + size / 2], 1) * self.stride
        heat = outputs["heat"].sigmoid()
        points = cell[:, None] + _at(outputs["offset"], cell).unflatten(1, (-1, 2))
        points = snapped(points, heat, outputs["refine"], REACH * size.amax(1))
        points = torch.cat([points[..., :2] * self.stride, points[..., 2:]], -1)
        boxes = clip_boxes_to_image(boxes, (shape[0], shape[1]))
        found = {"boxes": boxes, "scores": scores, "labels": labels, "keypoints": points}
        return suppress(self.selection.select(found), self.selection)


def gaussians(cells: Tensor, sigma: Tensor, channel: Tensor, like: Tensor) -> Tensor:
    """Heat maps of the shape (C, h, w) of `like`: 1 at cells (N, 2) and Gaussians around, the highest of several.

    Args:
        cells: whole x and y.
        sigma: (N, 2), of the Gaussians, in cells.
        channel: int64 (N,), of each.
        like: (C, h, w).
    """
    (high, wide), heat = like.shape[1:], torch.zeros_like(like)
    columns, rows = (torch.arange(length, device=like.device) for length in (wide, high))
    x, y = ((((grid - cells[:, i, None]) / sigma[:, i, None]) ** 2) for i, grid in enumerate((columns, rows)))
    bumps = torch.exp(-(x[:, None] + y[:, :, None]) / 2)
    return heat.scatter_reduce(0, channel[:, None, None].expand(-1, high, wide), bumps, "amax")


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Focal loss of heat maps (Law and Deng 2018), a sum divided by the number of points, where `heat` is 1."""
    probability, point = logits.sigmoid(), heat == 1
    positive = (1 - probability) ** 2 * softplus(-logits) * point
    negative = (1 - heat) ** 4 * probability**2 * softplus(logits) * ~point
    return (positive + negative).sum() / point.sum().clamp(min=1)


def peaks(heat: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Highest local maxima of heat maps (C, h, w): scores (N,), cells (N, 2) as x and y, channels (N,)."""
    high = heat * (max_pool2d(heat[None], 3, 1, 1)[0] == heat)
    scores, which = high.flatten().topk(min(most, high.numel()))
    area, wide = heat.shape[1] * heat.shape[2], heat.shape[2]
    place = which % area
    return scores, torch.stack([place % wide, place // wide], 1), which // area


def snapped(points: Tensor, heat: Tensor, refine: Tensor, reach: Tensor) -> Tensor:
    """Keypoints (N, K, 3), x, y in cells and score: each moved to the best peak of its heat map around it.

    The best has the highest score times a Gaussian of its distance, of the width `reach`.

    Args:
        points: (N, K, 2), as the objects' centers tell.
        heat: probabilities (K, h, w).
        refine: (2, h, w), from a cell to the place of a keypoint in it.
        reach: (N,), in cells. Where no peak is within twice that, a keypoint stays, and its score is that of its cell.
    """
    cell = _cells(points, heat.shape[1:])
    found = []
    for k, one in enumerate(heat):
        scores, spots, _ = peaks(one[None], PEAKS)
        places = _at(refine, spots) + spots
        distance = torch.cdist(points[:, k], places) / reach.clamp(min=1e-6)[:, None]
        worth = (scores * torch.exp(-(distance**2) / 2)).where(scores >= LOWEST, 0)
        best, which = worth.where(distance <= FARTHEST, 0).max(1)
        moves = (best > 0)[:, None]
        stay = torch.cat([points[:, k], _at(one[None], cell[:, k])], 1)
        found.append(torch.cat([places, scores[:, None]], 1)[which].where(moves, stay))
    return torch.stack(found, 1)


def _branch(features: int, hidden: int, outputs: int, bias: float = 0.0) -> nn.Sequential:
    last = nn.Conv2d(hidden, outputs, 1)
    nn.init.normal_(last.weight, std=0.01)
    if last.bias is not None:
        nn.init.constant_(last.bias, bias)
    return nn.Sequential(nn.Conv2d(features, hidden, 3, padding=1), nn.ReLU(inplace=True), last)


def _cells(points: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Cells (..., 2) of places (..., 2), as whole x and y within a map of this height and width."""
    last = torch.tensor([shape[1] - 1, shape[0] - 1], device=points.device)
    return points.floor().long().clamp(min=0).minimum(last)


def _at(maps: Tensor, cells: Tensor) -> Tensor:
    """Values (N, C) of maps (C, h, w) at cells (N, 2)."""
    return maps[:, cells[:, 1], cells[:, 0]].T
