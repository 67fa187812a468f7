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
    low, high = boxes.amin().double(), boxes.amax().double()
    groups = torch.arange(scores.shape[0], dtype=torch.float64, device=boxes.device)
    moved = (boxes.double() + (groups * ((high - low).ceil() + 1))[:, None, None]).reshape(-1, 4)
    # the operator's own description promises that at least two stay
    away = low - torch.arange(3, 9, 3, dtype=torch.float64, device=boxes.device)[:, None].expand(-1, 2)
    moved = torch.cat([moved, torch.cat([away, away + 1], 1)])
    flat = torch.cat([scores.reshape(-1).double(), torch.full((2,), -1.0, dtype=torch.float64, device=boxes.device)])
    real = flat.nonzero()[:, 0]
    kept = torch.ops.torchvision.nms.default(moved[real], flat[real], threshold)
    found = torch.zeros_like(flat, dtype=torch.bool).index_fill(0, real[kept], True)
    return found[:-2].reshape(scores.shape)
