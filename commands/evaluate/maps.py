"""First principal component of feature maps."""

import torch
from torch import Tensor

CELLS = 6  # fewest cells per side of a map worth drawing


def activation(maps: list[Tensor]) -> tuple[Tensor, int]:
    """First principal component over the cells of all images, of the coarsest level with enough cells.

    Args:
        maps: fine to coarse, (B, C, h, w).

    Returns:
        (B, h, w), its sign such that strong activations are high; and the level.
    """
    enough = [level for level, cells in enumerate(maps) if min(cells.shape[-2:]) >= CELLS]
    level = enough[-1] if enough else 0
    cells = maps[level].float().permute(0, 2, 3, 1)
    flat = cells.flatten(0, 2)
    flat = flat - flat.mean(0)
    direction = torch.linalg.svd(flat.T @ flat)[0][:, 0]
    values, strength = flat @ direction, cells.flatten(0, 2).norm(dim=1)
    sign = 1 if (values * (strength - strength.mean())).sum() >= 0 else -1
    return (sign * values).view(cells.shape[:3]), level
