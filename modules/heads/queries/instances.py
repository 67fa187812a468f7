"""Mask queries as a detector: boxes from masks, scores of class times mask, no suppression."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modules.contracts import Backbone, Features, Neck
from modules.decoding.boxes import Detection
from modules.decoding.masks import crop
from modules.heads.base import HeadFactory, build
from modules.heads.detection.base import Detector, InstanceHead, Target
from modules.heads.queries.base import MaskQueryHead, Queries
from modules.heads.queries.surplus import Surplus

CELLS = 56  # of a mask along each side of its box


class QueryInstances(Detector):
    """Mask queries as a detector: an object is a query with a class, its score the class's times the mask's.

    Args:
        net: the head of mask queries.
    """

    crops = True
    exact_masks = True

    def __init__(self, net: MaskQueryHead):
        super().__init__(detections=max(100, net.queries))
        self.net = net

    @property
    def title(self) -> str:
        return self.net.title

    def set_progress(self, progress: float) -> None:
        self.net.set_progress(progress)

    def join(self, backbone: Backbone, neck: Neck, given: bool) -> Neck:
        """See `MaskQueryHead`."""
        return self.net.join(backbone, neck, given)

    def places_for(self, counts: np.ndarray) -> str | None:
        return Surplus(self.net.queries).line(counts)

    def forward(  # pyrefly: ignore[bad-override]
        self,
        image: Tensor,
        maps: Callable[[Tensor], list[Tensor]],
        inside: Tensor,
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> tuple[list[Detection], dict[str, Tensor]]:
        """See `Detector`; proposals are ignored."""
        answers, losses = self.net(image, maps, targets)
        if self.training:
            return [], losses
        size = (image.shape[-2], image.shape[-1])
        each = zip(*answers, inside.tolist(), strict=True)
        return [self._objects(Queries(*one), tuple(shape), size) for *one, shape in each], losses

    def _objects(self, answers: Queries, shape: tuple[int, ...], size: tuple[int, int]) -> Detection:
        """Objects of an image, whose answers have no axis of images, in the part (h, w) of it that is no padding."""
        found = self.candidates(Queries(answers.classes[None], answers.masks[None]), size)
        scores, labels, masks = (each[0] for each in found)
        masks = masks[:, : shape[0], : shape[1]]
        scores, order = (scores * quality(masks)).sort(descending=True, stable=True)
        order = order[scores > self.selection.score_threshold]
        boxes = extents(masks[order] > 0.5)
        return self.selection.select(
            {
                "boxes": boxes,
                "scores": scores[: len(order)],
                "labels": labels[order],
                "mask_probabilities": crop(masks[order], boxes, CELLS),
            }
        )

    def candidates(self, answers: Queries, size: tuple[int, int] | torch.Size) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities and labels (B, D) of the surest pairs of a query and a class, and of pixels (B, D, H, W)."""
        classes = answers.classes.softmax(2)[..., :-1]
        total, outputs = classes.shape[1] * classes.shape[2], classes.shape[2]
        certain, best = classes.flatten(1).topk(min(self.selection.detections, total))
        which = (best // outputs)[..., None, None].expand(-1, -1, answers.masks.shape[2], answers.masks.shape[3])
        masks = functional.interpolate(answers.masks.gather(1, which), size, mode="bilinear").sigmoid()
        return certain, best % outputs, masks


def quality(masks: Tensor) -> Tensor:
    """Mean probability (...) of masks (..., H, W) over the pixels inside, those above 0.5; 0 without any."""
    pixels = masks > 0.5
    return (masks * pixels).sum((-2, -1)) / pixels.sum((-2, -1)).clamp_min(1)


def instances(factory: HeadFactory[InstanceHead | MaskQueryHead]) -> Callable[[Features, int], Detector]:
    """Factory of detectors with masks from one of such or of mask queries."""

    def make(features: Features, outputs: int) -> Detector:
        made = build((InstanceHead, MaskQueryHead), factory, features, outputs)
        return QueryInstances(made) if isinstance(made, MaskQueryHead) else made

    return make


def extents(masks: Tensor) -> Tensor:
    """Boxes float32 (..., 4) xyxy around masks bool (..., H, W) of pixels of side 1; 0 around empty ones."""
    sides = []
    for axis in (-2, -1):  # over rows, then over columns
        pixels = masks.any(axis)
        index = torch.arange(pixels.shape[-1], device=masks.device)
        high = torch.where(pixels, index + 1, 0).amax(-1)
        sides.append((torch.minimum(torch.where(pixels, index, pixels.shape[-1]).amin(-1), high), high))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], -1).float()
