"""Non-maximum suppression of many groups at once, in fixed sizes: an operator that each format of file translates."""

import torch
from torch import Tensor
from torchvision.ops import nms


@torch.library.custom_op("graft::suppress", mutates_args=())
def suppress(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Non-maximum suppression within each group, as `torchvision.ops.nms` does it.

    Args:
        boxes: float32 (G, M, 4) xyxy.
        scores: float32 (G, M); 0 where there is no box.
        threshold: IoU above which the box of the lower score goes.

    Returns:
        bool (G, M), the boxes that stay.
    """
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for row, box, score in zip(keep, boxes, scores, strict=True):
        real = score.nonzero()[:, 0]
        row[real[nms(box[real], score[real], threshold)]] = True
    return keep


@suppress.register_fake
def _(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def suppress_by_torchvision(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """`suppress` by one call of torchvision's operator, for files of torch.export.

    Groups are set apart; in float64 that moves no box by more than a rounding of its float32 area would.
    """
    apart = (boxes.amax() - boxes.amin()).double().ceil() + 1
    groups = torch.arange(scores.shape[0], dtype=torch.float64, device=boxes.device)
    moved = (boxes.double() + (groups * apart)[:, None, None]).reshape(-1, 4)
    real = scores.reshape(-1).nonzero()[:, 0]
    kept = torch.ops.torchvision.nms.default(moved[real], scores.reshape(-1)[real].double(), threshold)
    found = torch.zeros_like(scores, dtype=torch.bool).reshape(-1)
    return found.index_fill(0, real[kept], True).reshape(scores.shape)
