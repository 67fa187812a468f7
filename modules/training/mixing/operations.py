"""Mixing of a batch with itself: pure functions of features, shares and masks.

Each sample is mixed with that half a batch away. Where processes take turns in the samples of a batch, as
`datamodules.sampler.EpochSampler` deals them, these pairs are the same on any number of processes that divides it.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def partners(x: Tensor) -> Tensor:
    """The sample (B, ...) that each sample of a batch is mixed with."""
    return x.roll(-(len(x) // 2), 0)


def mixup(x: Tensor, share: float) -> Tensor:
    """`share` of each sample (B, ...) and 1 - `share` of its partner (Zhang et al. 2018)."""
    return torch.lerp(partners(x), x, share)


def cutmix_box(height: int, width: int, share: float, y: float, x: float) -> tuple[int, int, int, int]:
    """Box y0, x0, y1, x1 of 1 - `share` of an image's area around a center (y, x) in 0..1, cut at the edges.

    Yun et al. 2019.
    """
    half = 0.5 * math.sqrt(1 - share)
    top, left = int(y * height), int(x * width)
    high, wide = int(half * height), int(half * width)
    return max(top - high, 0), max(left - wide, 0), min(top + high, height), min(left + wide, width)


def cutmix(x: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, float]:
    """Images (B, C, H, W) with a box of their partners', and the share of the area that is their own."""
    y0, x0, y1, x1 = box
    mixed = x.clone()
    mixed[..., y0:y1, x0:x1] = partners(x)[..., y0:y1, x0:x1]
    return mixed, 1 - (y1 - y0) * (x1 - x0) / (x.shape[-2] * x.shape[-1])


def patchup_rate(probability: float, block: int, height: int, width: int) -> float:
    """Rate of block centers so that about `probability` of the cells of a map lie in a block, as for DropBlock.

    Args:
        probability: gamma of Faramarzi et al. 2020.
        block: side of the blocks in cells, at most `height` and `width`.
    """
    return probability * height * width / (block**2 * (height - block + 1) * (width - block + 1))


def patchup_mask(centers: Tensor, block: int) -> Tensor:
    """Cells that lie in a block, bool (C, H, W), around `centers`, bool (C, H, W)."""
    return functional.max_pool2d(centers[None].float(), block, 1, block // 2)[0] > 0


def patchup(x: Tensor, mask: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Features (B, C, H, W) whose cells in `mask` (C, H, W) are mixed with the partner's; the share that is their own.

    Args:
        share: of the sample itself in the masked cells; 0 is hard PatchUp.
    """
    weight = torch.where(mask, share, 1.0).to(x.dtype)[None]
    if x.is_contiguous(memory_format=torch.channels_last):  # broadcast along the memory
        weight = weight.contiguous(memory_format=torch.channels_last)
    return torch.lerp(partners(x), x, weight), 1 - (1 - share) * mask.float().mean()


def mixed_labels(label: Tensor, share: Tensor | float, classes: int) -> Tensor:
    """Probabilities (B, C) of labels, int64 (B,) or float (B, C), of which `share`, one or (B,), is the sample's own.

    Both halves of PatchUp's published loss are cross-entropies of this mixture, so its gradient is twice this one's.
    """
    if label.ndim == 1:
        label = functional.one_hot(label, classes).float()
    share = share if isinstance(share, float) else share.to(label).reshape(-1, 1)
    return label * share + partners(label) * (1 - share)
