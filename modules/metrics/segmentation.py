"""Metrics of semantic segmentation: counted over a whole set, on the device, void left out."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from modules.contracts import IGNORE

TOLERANCE = 0.0075  # of the diagonal (Csurka et al. 2013)

PROTOCOLS = {
    "miou": "macro: mean IoU of the classes in truth or prediction, over all pixels of the set; void left out",
    "pixel_accuracy": "micro: share of all labeled pixels of the set that are right; void left out",
    "mean_accuracy": "macro: mean recall of the classes in the truth, over all pixels of the set; void left out",
    "dice": "macro: mean Dice (F1) of the classes in truth or prediction, over all pixels of the set; void left out",
    "boundary_f1": "macro: mean F1 of the classes' boundaries in the set, within 0.75 % of the diagonal; void left out",
    "micro_iou": "micro: IoU of all pixels of the set, classes pooled; higher than mIoU; void left out",
}
"""Protocol of each metric, in words."""

RESIZED = "_resized"
"""End of the names of scores on masks that were resized to the network's size."""


class SegmentationScores(Metric):
    """Scores of class maps, from one confusion matrix and one count of boundary pixels over the whole set.

    `compute` gives `miou`, `pixel_accuracy`, `mean_accuracy`, `dice`, `micro_iou` and, if asked, `boundary_f1`, each in
    0..1 and as PROTOCOLS says; nan when no pixel was labeled. `matrix` is int64 (C, C), rows true, columns predicted.
    `latest` holds the counts of the last update, int64 (7, C): right, true and predicted pixels, and rows as `edges`.

    Boundary F1 after Csurka et al. 2013. A pixel lies on the boundary of its class when one of its four neighbors has
    another class; void and the image's edge make no boundary. Void pixels of the truth are void in the prediction
    too. A boundary pixel is matched when the other map has a boundary pixel of the same class within a Euclidean
    distance of 0.75 % of the diagonal of the maps given (padding included), at least one pixel. A class's precision is
    the matched share of its predicted boundary pixels, its recall that of its true ones; both are counted over the
    whole set (Csurka et al. average over images instead). F1 is their harmonic mean, 0 when one map alone has such
    boundaries; the score is its mean over the classes with boundaries in truth or prediction.

    Args:
        classes: number of classes C, at most 254.
        boundary: compute boundary F1. Its time grows with the square of the distance, so that it tells on
            images of thousands of pixels.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    matrix: Tensor
    edges: Tensor
    latest: Tensor

    def __init__(self, classes: int, boundary: bool = True):
        super().__init__()
        self.classes, self.boundary = classes, boundary
        self.add_state("matrix", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")
        # rows: predicted boundary pixels, those matched, true boundary pixels, those matched
        self.add_state("edges", torch.zeros(4, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Counts one batch: classes (B, H, W), 0..C-1, and the same with 255 = void; whole numbers of any type."""
        prediction, target = prediction.long(), target.long()
        void = target == IGNORE
        cell = (target * self.classes + prediction).masked_fill_(void, self.classes**2)
        matrix, edges = counts(cell, self.classes**2).view_as(self.matrix), torch.zeros_like(self.edges)
        if self.boundary:
            edges = boundary_counts(prediction.masked_fill(void, IGNORE), target, self.classes)
        self.matrix += matrix
        self.edges += edges
        self.latest = torch.cat([torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]), edges])

    def compute(self) -> dict[str, Tensor]:
        """The scores, scalars in float32."""
        matrix, by_class = self.matrix, per_class(self.matrix)
        right, pixels = matrix.diagonal().sum(), matrix.sum()
        scores = {
            "miou": by_class["iou"].nanmean(),
            "pixel_accuracy": right / pixels,
            "mean_accuracy": by_class["recall"].nanmean(),
            "dice": by_class["dice"].nanmean(),
            "micro_iou": right / (2 * pixels - right),
        }
        return scores | ({"boundary_f1": boundary_f1(self.edges).nanmean()} if self.boundary else {})


def per_class(matrix: Tensor) -> dict[str, Tensor]:
    """IoU, Dice, precision and recall of each class from a confusion matrix int64 (C, C), rows true, columns predicted.

    Returns:
        `pixels`: int64 (C,), of the truth; `iou`, `dice`, `precision` and `recall` (which is the class's accuracy):
        float32 (C,), 0..1, nan where nothing is to divide by.
    """
    right, true, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return {
        "pixels": true,
        "iou": right / (true + predicted - right),
        "dice": 2 * right / (true + predicted),
        "precision": right / predicted,
        "recall": right / true,
    }


def boundary_f1(edges: Tensor) -> Tensor:
    """F1 of each class's boundary, float32 (C,), from counts int64 (4, C) as `boundary_counts` makes them."""
    predicted, hit, true, found = edges
    # precision and recall, 0 when there is nothing to divide by: the other map has boundaries then, or it is nan anyway
    precision, recall = hit / predicted.clamp(min=1), found / true.clamp(min=1)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return f1.where(predicted + true > 0, torch.nan)


def boundary_counts(prediction: Tensor, target: Tensor, classes: int, tolerance: float = TOLERANCE) -> Tensor:
    """Boundary pixels of each class, as SegmentationScores defines them, and how many are matched.

    Args:
        prediction: int64 (B, H, W), 0..C-1, 255 = void.
        target: the same.
        classes: C.
        tolerance: the longest distance of a match as a share of the maps' diagonal.

    Returns:
        int64 (4, C): predicted, of these matched, true, of these matched.
    """
    reach = max(1.0, tolerance * math.hypot(*target.shape[-2:]))
    predicted, true = boundary(prediction, classes), boundary(target, classes)
    rows = []
    for edge, other in ((predicted, true), (true, predicted)):
        matched = edge.where(near(edge, other, reach, classes), classes)
        rows += [counts(edge.long(), classes), counts(matched.long(), classes)]
    return torch.stack(rows)


def boundary(labels: Tensor, classes: int) -> Tensor:
    """The class of each pixel on a boundary, and `classes` elsewhere: uint8 (B, H, W) of int64 (B, H, W) with void."""
    labels = labels.to(torch.uint8)  # an eighth of the memory to read, many times over
    on = torch.zeros_like(labels, dtype=torch.bool)
    for axis in (1, 2):
        size = labels.shape[axis] - 1
        here, there = labels.narrow(axis, 0, size), labels.narrow(axis, 1, size)
        differ = (here != there) & (here != IGNORE) & (there != IGNORE)
        on.narrow(axis, 0, size).logical_or_(differ)
        on.narrow(axis, 1, size).logical_or_(differ)
    return labels.where(on, classes)


def near(edge: Tensor, other: Tensor, reach: float, classes: int) -> Tensor:
    """Mask bool (B, H, W): pixels of `edge` with the same class in `other` within `reach` pixels; both from `boundary`.

    Each pixel's classes are bits of a number, and a disk is a stack of rows, so that all classes grow at once and time
    grows with the reach, not with its square.
    """
    found = torch.zeros_like(edge, dtype=torch.bool)
    kind, bits = (torch.int32, 31) if classes <= 31 else (torch.int64, 63)
    for first in range(0, classes, bits):  # more classes than a number has bits take turns
        last = min(classes, first + bits) - 1
        there, here = (((each >= first) & (each <= last), each.to(kind) - first) for each in (other, edge))
        reached = grown(torch.where(there[0], 1 << there[1].clamp(0, bits - 1), 0), reach)
        found |= here[0] & (reached >> here[1].clamp(0, bits - 1) & 1).bool()
    return found


def grown(bits: Tensor, reach: float) -> Tensor:
    """Each pixel's bits joined (bitwise or) with those of all pixels within `reach`: whole numbers (B, H, W)."""
    rows, joined, width = bits.clone(), torch.zeros_like(bits), 0
    for down in range(int(reach), -1, -1):
        while math.hypot(down, width + 1) <= reach:
            width += 1
            rows[..., width:] |= bits[..., :-width]
            rows[..., :-width] |= bits[..., width:]
        if down:
            joined[:, down:] |= rows[:, :-down]
            joined[:, :-down] |= rows[:, down:]
    return joined.bitwise_or_(rows)


def counts(index: Tensor, size: int) -> Tensor:
    """Counts of 0..size-1 in int64 `index`, whose other value, `size`, is not counted: int64 (size,)."""
    # Not bincount: it would make the host wait for the device.
    flat = index.flatten()
    return flat.new_zeros(size + 1).index_add_(0, flat, torch.ones_like(flat))[:-1]
