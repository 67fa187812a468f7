"""Non-maximum suppression, merging of views and tiles, and coordinate transforms of boxes. Pure functions.

A detection is a dict of one image: `boxes` float32 (N, 4) xyxy in pixels, `scores` float32 (N,) descending, `labels`
int64 (N,), for instances `mask_probabilities` float32 (N, M, M) over each box, and for keypoints `keypoints` float32
(N, K, 3), x, y and score. Other keys are carried along.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_area, box_iou, clip_boxes_to_image, remove_small_boxes

from modules.contracts import ConfigError, check_range

Detection = dict[str, Tensor]

CANDIDATES = 1000
"""Most boxes of an image that NMS compares, those of the highest scores."""


@dataclass(frozen=True)
class Selection:
    """Settings of non-maximum suppression (NMS) and score filtering.

    Args:
        score_threshold: lowest score of a detection, 0..1.
        nms_threshold: IoU, 0..1: of two boxes above it only the better one stays.
        agnostic_nms: NMS across classes too.
        soft_nms: lowers the score of a box by its overlap with better ones instead of dropping it (see `soft_nms`).
        detections: most of one image.

    Raises:
        ConfigError: a threshold outside of 0..1, or no detections.
    """

    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    agnostic_nms: bool = False
    soft_nms: bool = False
    detections: int = 100

    def __post_init__(self) -> None:
        for name in ("score_threshold", "nms_threshold"):
            check_range(f"head.{name}", getattr(self, name), high=1)
        if self.detections < 1:
            raise ConfigError(f"head.detections is {self.detections}, but an image needs room for at least one")

    @property
    def torchvision(self) -> dict[str, float]:
        """Arguments of torchvision's detectors, which know only NMS within a class; `select` does the rest."""
        own = self.agnostic_nms or self.soft_nms
        return {
            "score_thresh": self.score_threshold,
            "nms_thresh": 2.0 if own else self.nms_threshold,  # no IoU is above it
            "detections_per_img": CANDIDATES if own else self.detections,
        }

    def select(self, detection: Detection) -> Detection:
        """Drop boxes without area; apply class-agnostic or soft NMS, which torchvision's detectors lack."""
        detection = take(detection, remove_small_boxes(detection["boxes"], min_size=1e-2))
        if not (self.agnostic_nms or self.soft_nms):
            return detection
        return suppress(detection, self)


def suppress(candidates: Detection, selection: Selection) -> Detection:
    """Non-maximum suppression (plain, class-agnostic or soft) of the candidates of one image; the best first."""
    boxes, scores = candidates["boxes"], candidates["scores"]
    best = scores.topk(min(CANDIDATES, len(scores))).indices
    candidates = take(candidates, best[scores[best] >= selection.score_threshold])
    boxes, scores, labels = (candidates[key] for key in ("boxes", "scores", "labels"))
    groups = torch.zeros_like(labels) if selection.agnostic_nms else labels
    if selection.soft_nms:
        keep, scores = soft_nms(boxes, scores, groups, selection.score_threshold)
        candidates = {**take(candidates, keep), "scores": scores}
        return take(candidates, slice(selection.detections))
    keep = batched_nms(boxes, scores, groups, selection.nms_threshold)
    return take(candidates, keep[: selection.detections])


def soft_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, floor: float = 0.001, sigma: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Gaussian soft NMS (Bodla et al. 2017): the best box lowers the others of its group by exp(-IoU^2 / sigma).

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        groups: int64 (N,); boxes of different groups leave each other alone.
        floor: boxes whose score falls below it are dropped.
        sigma: smaller lowers more.

    Returns:
        Indices of the boxes kept, best first, and their new scores.
    """
    decay = (-box_iou(boxes, boxes).square() / sigma).exp()
    # one tiny step per box: a GPU would spend its time on starting them
    decay = decay.where(groups[:, None] == groups, 1.0).cpu()
    left, kept, final = scores.float().cpu().clone(), [], []
    for _ in range(len(left)):
        score, best = left.max(0)
        if score < floor or score < 0:
            break
        kept.append(best)
        final.append(score)
        left *= decay[best]
        left[best] = -1.0
    if not kept:
        return groups[:0], scores[:0]
    return torch.stack(kept).to(boxes.device), torch.stack(final).to(scores)


def merge(views: Sequence[Detection], selection: Selection) -> Detection:
    """Test-time augmentation: merge detections of several views of one image, all in the same pixels, by NMS."""
    return suppress(_joined(views), selection)


def merge_tiles(
    tiles: Sequence[Detection],
    corners: Sequence[tuple[int, int]],
    tile_size: tuple[int, int],
    size: tuple[int, int],
    selection: Selection,
    covered: float = 0.7,
) -> Detection:
    """Tiled inference: merge detections of overlapping tiles into those of the large image.

    An object on the border of a tile lies entirely within a neighbor when tiles overlap by more than its size. Its cut
    box overlaps too little for NMS, so it is dropped when a box that no border cuts, of the same class, covers most of
    it. An object larger than the overlap may be left in pieces.

    Args:
        tiles: each in pixels of its tile.
        corners: top and left of each tile in the image.
        tile_size: height and width of a tile; those on the right and below may be cut by the image.
        size: height and width of the image.
        selection: NMS over all tiles.
        covered: share of a cut box that an uncut one covers.
    """
    found = _joined([moved(tile, corner) for tile, corner in zip(tiles, corners, strict=True)])
    cut = torch.cat([_cut(t["boxes"], c, tile_size, size) for t, c in zip(tiles, corners, strict=True)])
    boxes, labels = found["boxes"], found["labels"]
    low = torch.maximum(boxes[cut, None, :2], boxes[None, ~cut, :2])
    high = torch.minimum(boxes[cut, None, 2:], boxes[None, ~cut, 2:])
    share = (high - low).clamp(min=0).prod(2) / box_area(boxes[cut])[:, None].clamp(min=1e-6)
    seen = ((share >= covered) & (labels[cut, None] == labels[~cut])).any(1)
    keep = ~cut
    keep[cut] = ~seen
    return suppress(take(found, keep), selection)


def mirrored(detection: Detection, width: float) -> Detection:
    """Horizontal flip of detections in an image of `width` pixels; its own inverse. Keypoints keep their numbers."""
    x1, y1, x2, y2 = detection["boxes"].unbind(1)
    flipped = {"boxes": torch.stack([width - x2, y1, width - x1, y2], 1)}
    if "mask_probabilities" in detection:
        flipped["mask_probabilities"] = detection["mask_probabilities"].flip(-1)
    if "keypoints" in detection:
        x, y, score = detection["keypoints"].unbind(-1)
        flipped["keypoints"] = torch.stack([width - x, y, score], -1)
    return {**detection, **flipped}


def moved(detection: Detection, corner: tuple[float, float]) -> Detection:
    """Shift detections of a crop to pixels of the image; `corner` (top, left) is that of the crop in the image."""
    top, left = corner
    shifted = {"boxes": detection["boxes"] + detection["boxes"].new_tensor([left, top, left, top])}
    if "keypoints" in detection:
        shifted["keypoints"] = detection["keypoints"] + detection["keypoints"].new_tensor([left, top, 0])
    return {**detection, **shifted}


def rescaled(detection: Detection, factors: Tensor) -> Detection:
    """Detections in an image resized by factors (2,) of x and y."""
    resized = {"boxes": detection["boxes"] * factors.repeat(2)}
    if "keypoints" in detection:
        points = detection["keypoints"]
        resized["keypoints"] = torch.cat([points[..., :2] * factors, points[..., 2:]], -1)
    return {**detection, **resized}


def to_original(boxes: Tensor, inside: Tensor, size: Tensor) -> Tensor:
    """Rescale boxes from pixels of the network's input to those of the original image, clipped to it.

    Args:
        boxes: (N, 4) xyxy.
        inside: int64 (2,): height and width of the part of the network's image that shows the original.
        size: int64 (2,): height and width of the original.
    """
    factors = size.to(boxes) / inside.to(boxes)
    return clip_boxes_to_image(boxes * factors.flip(0).repeat(2), tuple(size.tolist()))


def take(detection: Detection, which: Tensor | slice) -> Detection:
    """Some entries of every key: by index, mask or slice."""
    return {key: values[which] for key, values in detection.items()}


def _joined(parts: Sequence[Detection]) -> Detection:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def _cut(boxes: Tensor, corner: tuple[int, int], tile_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Mask bool (N,) of the boxes that touch a border of their tile that is no border of the image."""
    (top, left), near = corner, 1.0
    bottom, right = (min(start + side, most) for start, side, most in zip(corner, tile_size, size, strict=True))
    x1, y1, x2, y2 = boxes.unbind(1)
    cut = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    if top > 0:
        cut |= y1 < near
    if left > 0:
        cut |= x1 < near
    if bottom < size[0]:
        cut |= y2 > bottom - top - near
    if right < size[1]:
        cut |= x2 > right - left - near
    return cut
