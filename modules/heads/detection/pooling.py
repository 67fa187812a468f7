"""Region pooling, RoIAlign and RoIPool: each box from the level of the pyramid that fits its size (Lin et al. 2017)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops.poolers import initLevelMapper

Shapes = list[tuple[int, int]]
SAMPLES = 2  # in each direction, of each cell of the result


class RoIAlign(MultiScaleRoIAlign):
    """RoIAlign, interpolated, from maps named 0, 1, ... (He et al. 2017): torchvision's, with given strides.

    torchvision's guesses strides from its first batch, and there from the images without their padding. On a CPU it
    needs for the gradient as long as for the convolutions of a ResNet-18, so training there takes the same sums as rows
    of a table: a third of the time.

    Args:
        strides: of the maps.
        size: side of the result, in cells.
    """

    def __init__(self, strides: Sequence[int], size: int):
        super().__init__([str(i) for i in range(len(strides))], size, SAMPLES)
        self.scales = [1 / stride for stride in strides]
        self.map_levels = initLevelMapper(int(math.log2(strides[0])), int(math.log2(strides[-1])))

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: Shapes) -> Tensor:
        """Maps (B, C, h, w) and boxes (R, 4) of each image to (all R, C, size, size)."""
        maps = [x[name] for name in self.featmap_names]
        if maps[0].device.type != "cpu" or not self.training:
            return super().forward(x, boxes, image_shapes)
        rows, weights = self.samples(maps, boxes)
        # a row of the table is one cell of one map, so a sum runs along memory
        table = torch.cat([each.float().permute(0, 2, 3, 1).flatten(0, 2) for each in maps])
        pooled = embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
        return pooled.view(-1, *self.output_size, table.shape[1]).permute(0, 3, 1, 2).to(maps[0].dtype)

    @torch.no_grad()
    def samples(self, maps: list[Tensor], boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Indices and weights of the cells that each cell of the result sums, (all R * size * size, 16) each."""
        every = torch.cat(boxes)
        image = torch.cat([torch.full((len(each),), i) for i, each in enumerate(boxes)])
        level = self.map_levels(boxes) if len(maps) > 1 else torch.zeros_like(image)
        scale, height, width = (torch.tensor(each)[level] for each in (self.scales, *zip(*_sizes(maps), strict=True)))
        starts = torch.tensor([0, *(len(m) * m[0, 0].numel() for m in maps[:-1])]).cumsum(0)[level]
        x1, y1, x2, y2 = (every * scale[:, None]).unbind(1)
        row, row_weight = self._axis(y1, y2, height)
        column, column_weight = self._axis(x1, x2, width)
        first = (starts + image * height * width)[:, None, None, None, None]
        rows = first + row[:, :, None, :, None] * width[:, None, None, None, None] + column[:, None, :, None, :]
        weights = row_weight[:, :, None, :, None] * column_weight[:, None, :, None, :]
        taps = (2 * SAMPLES) ** 2
        return rows.reshape(-1, taps).int(), weights.reshape(-1, taps) / SAMPLES**2

    def _axis(self, low: Tensor, high: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Cells and weights (R, size, 2 SAMPLES) of linear interpolation; torchvision's rules at the border."""
        size = self.output_size[0]
        step = ((high - low).clamp(min=1) / size)[:, None, None]
        cell, sample = torch.arange(size)[:, None], torch.arange(SAMPLES) + 0.5
        place, last = low[:, None, None] + cell * step + sample * step / SAMPLES, length[:, None, None] - 1
        seen = (place >= -1) & (place <= length[:, None, None])
        place = torch.minimum(place.clamp(min=0), last.float())
        below = place.floor()
        part = place - below
        cells = torch.stack([below.long(), torch.minimum(below.long() + 1, last)], -1)
        return cells.flatten(2), (torch.stack([1 - part, part], -1) * seen[..., None]).flatten(2)


class RoIPool(nn.Module):
    """RoIPool: the maximum of whole cells (Girshick 2015), else as `RoIAlign`."""

    def __init__(self, strides: Sequence[int], size: int):
        super().__init__()
        self.strides, self.size, self.level_of = strides, size, RoIAlign(strides, size).map_levels

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: Shapes) -> Tensor:
        maps = [x[str(i)].float() for i in range(len(self.strides))]
        which = torch.cat([torch.full_like(each[:, :1], i) for i, each in enumerate(boxes)])
        rois, levels = torch.cat([which, torch.cat(boxes)], 1), self.level_of(boxes)
        pooled = maps[0].new_zeros(len(rois), maps[0].shape[1], self.size, self.size)
        for i, (each, stride) in enumerate(zip(maps, self.strides, strict=True)):
            pooled[levels == i] = roi_pool(each, rois[levels == i], self.size, 1 / stride)
        return pooled


def named(maps: list[Tensor]) -> dict[str, Tensor]:
    """Maps by name, as the poolers take them."""
    return {str(i): each for i, each in enumerate(maps)}


def _sizes(maps: list[Tensor]) -> list[tuple[int, int]]:
    return [(each.shape[-2], each.shape[-1]) for each in maps]
