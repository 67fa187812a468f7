"""PuzzleMix: which cells of two images to keep by saliency, and where to move them (Kim et al. 2020).

    h(x0, x1) = z * T0(x0) + (1 - z) * T1(x1)

z in {0, 1/2, 1} minimizes the energy of `modules.training.mixing.energy`; T0 and T1 move cells within each image so
that salient ones are seen. Weights are those of the published training on CIFAR-100.
"""

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from modules.training.mixing.energy import LEVELS, minimize, pair_weights, unary_costs
from modules.training.mixing.operations import partners

SHIFT_COST = 0.8  # of moving a cell across the image, beside saliency that sums to 1


def puzzle_mix(
    image: Tensor, saliency: Tensor, cells: int, share: float, solver: Literal["exact", "independent"]
) -> tuple[Tensor, Tensor]:
    """Mixed images (B, C, H, W), and the share (B,) of each that is its own.

    Args:
        image: normalized.
        saliency: (B, H, W), not negative.
        cells: on each side; halved until they divide the image.
        share: lambda, the prior of z.
        solver: `exact`, or `independent`: the energy without pairs of cells, and no transport.
    """
    height, width = image.shape[-2:]
    while height % cells or width % cells:
        cells //= 2
    seen = functional.adaptive_avg_pool2d(saliency.float(), cells)
    seen = seen / seen.sum((-2, -1), keepdim=True).clamp_min(1e-12)
    unary = unary_costs(seen, partners(seen), share)
    if solver == "independent":
        level = unary.argmin(-1)
        own, other = image, partners(image)
    else:
        more, across, down = pair_weights(image.float(), partners(image).float(), cells)
        level = minimize(unary + more, across, down)
        own = transport(image, seen, level > 0)
        other = transport(partners(image), partners(seen), level < LEVELS)
    z = (level / LEVELS).to(image)
    mask = functional.interpolate(z[:, None], (height, width), mode="nearest")
    return mask * own + (1 - mask) * other, z.mean((-2, -1))


def transport(image: Tensor, saliency: Tensor, seen: Tensor) -> Tensor:
    """Images whose cells are permuted so that salient ones lie where they are seen, at the least cost of moving them.

    Args:
        image: (B, C, H, W).
        saliency: of the cells (B, n, n), of sum 1.
        seen: cells that are visible, bool (B, n, n).
    """
    cells = saliency.shape[-1]
    if cells == 1:
        return image
    place = torch.cartesian_prod(torch.arange(cells), torch.arange(cells)).float() / (cells - 1)
    far = torch.cdist(place, place).square()
    gain = saliency.flatten(1)[:, :, None] * seen.flatten(1)[:, None].float()  # from, to
    plans = [linear_sum_assignment(cost)[1] for cost in (SHIFT_COST * far - gain.cpu()).numpy()]
    origin = torch.stack([torch.from_numpy(plan).argsort() for plan in plans]).to(image.device)
    return permuted(image, origin, cells)


def permuted(image: Tensor, origin: Tensor, cells: int) -> Tensor:
    """Images (B, C, H, W) of n x n cells, the j-th of which was the `origin[b, j]`-th; `origin` is (B, n * n)."""
    batch, channels, height, width = image.shape
    high, wide = height // cells, width // cells
    parts = image.reshape(batch, channels, cells, high, cells, wide).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    moved = parts[torch.arange(batch, device=image.device)[:, None], origin]
    return moved.unflatten(1, (cells, cells)).permute(0, 3, 1, 4, 2, 5).reshape(image.shape)
