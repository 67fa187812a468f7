"""Anchor boxes, and fitting of their shapes to data by k-means."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from modules.contracts import ConfigError


class Anchors(AnchorGenerator):
    """Anchor boxes, the same shapes at every cell of a map: torchvision's, in float32 and with given strides.

    torchvision's guesses strides from the sizes of image and maps, which is right only for whole cells, and takes the
    type of the maps: in bfloat16, anchors would be off by pixels. Shapes are a buffer, so that a checkpoint keeps
    those fitted to its data.

    Args:
        strides: of the maps.
        sizes: square root of an anchor's area in pixels, ascending; one per map, or the same number for each.
        ratios: height / width of an anchor.

    Raises:
        ConfigError: sizes that maps cannot share evenly, or anything not above 0.
    """

    offset = 0.0  # from a cell's corner to the middle of its anchors, in cells

    def __init__(self, strides: Sequence[int], sizes: Sequence[float], ratios: Sequence[float]):
        if len(sizes) == 0 or len(sizes) % len(strides) or min(sizes) <= 0:
            raise ConfigError(
                f"head.anchor_sizes is {list(sizes)}, but {len(strides)} maps share them evenly, all above 0: give "
                f"{len(strides)} or a multiple, or null for the head's own"
            )
        if not len(ratios) or min(ratios) <= 0:
            raise ConfigError(f"head.ratios is {list(ratios)}, but needs at least one, and only above 0")
        levels = _levels(sizes, len(strides))
        super().__init__(levels, (tuple(ratios),) * len(strides))
        self.strides = tuple(strides)
        self.register_buffer("shapes", torch.cat(self.cells(levels, ratios)))

    def cells(self, levels: Sequence[Sequence[float]], ratios: Sequence[float]) -> list[Tensor]:
        """Boxes (A, 4) around 0 of each map."""
        # whole pixels, as torchvision has them, but not zero
        halves = [self.generate_anchors(sizes, ratios)[:, 2:].clamp(min=0.5) for sizes in levels]
        return [torch.cat([-half, half], 1) for half in halves]

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors float32 (sum over maps of h * w * A, 4) xyxy of each image; all are the same tensor."""
        # in traced graphs height and width are symbols, which a cache cannot hold
        corners = _corners.__wrapped__ if torch.compiler.is_exporting() else _corners
        parts = [
            (corners(*feature_map.shape[-2:], stride, self.offset, self.shapes.device) + shapes).reshape(-1, 4)
            for feature_map, stride, shapes in zip(
                feature_maps, self.strides, self.shapes.split(self.num_anchors_per_location()), strict=True
            )
        ]
        return [torch.cat(parts)] * len(image_list.image_sizes)

    def fit(self, wh: np.ndarray) -> str:
        """Fit the shapes to boxes of the widths and heights (N, 2), by k-means; returns a line about the change.

        Sizes are fitted for some of the finest maps, and double from there, as anchors must not be much smaller than
        the stride of their map: as many maps as suits the boxes best. What was there stays if none is better.
        """
        some = _some(wh)
        tried = [self._fitted(some, maps) for maps in range(1, len(self.strides) + 1)]
        shapes = [torch.cat(self.cells(_levels(sizes, len(self.strides)), ratios)) for sizes, ratios in tried]
        scores = [self._coverage(some, each) for each in shapes]
        overlap, found = self._coverage(some, self.shapes)
        best = max(range(len(tried)), key=lambda i: scores[i])
        if scores[best][0] <= overlap:
            return f"anchors stay as they are: none fit {len(wh):,} boxes better than IoU {overlap:.3f} on average"
        self.shapes.copy_(shapes[best])
        sizes, ratios = (" ".join(f"{value:.3g}" for value in values) for values in tried[best])
        return (
            f"anchors fitted to {len(wh):,} boxes: sizes {sizes}, ratios {ratios}; recall at IoU 0.5 "
            f"{100 * found:.1f} % -> {100 * scores[best][1]:.1f} %, mean IoU {overlap:.3f} -> {scores[best][0]:.3f}"
        )

    def recall(self, wh: np.ndarray) -> float:
        """Share of boxes (N, 2) of these widths and heights that some anchor overlaps by an IoU of 0.5 and more."""
        return self._coverage(_some(wh), self.shapes)[1]

    def _fitted(self, wh: np.ndarray, maps: int) -> tuple[list[float], list[float]]:
        return fit_anchors(wh, len(self.strides), len(self.aspect_ratios[0]), len(self.sizes[0]), maps)

    def _coverage(self, wh: np.ndarray, shapes: Tensor) -> tuple[float, float]:
        """Mean IoU of boxes with the best shape, as far from it as the nearest is on average; share of 0.5 and more."""
        away = np.repeat(np.array(self.strides) / 4, self.num_anchors_per_location())[:, None]
        sides, boxes = (shapes[:, 2:] - shapes[:, :2]).cpu().numpy(), wh[:, None]
        common = np.minimum(np.minimum(boxes, sides), (boxes + sides) / 2 - away).clip(min=0).prod(2)
        iou = (common / (boxes.prod(2) + sides.prod(1) - common)).max(1)
        return float(iou.mean()), float((iou >= 0.5).mean())


class DefaultBoxes(Anchors):
    """SSD's: in the middle of each cell one square, one between it and the next map's, and two for each ratio.

    Args:
        strides: of the maps.
        sizes: one per map, in pixels, ascending.
        ratios: width / height, and its inverse.

    Raises:
        ConfigError: as for `Anchors`, or another number of sizes.
    """

    offset = 0.5

    def __init__(self, strides: Sequence[int], sizes: Sequence[float], ratios: Sequence[float]):
        if len(sizes) != len(strides):
            raise ConfigError(
                f"head.anchor_sizes has {len(sizes)} values, but SSD takes one for each of {len(strides)} maps: give "
                f"so many, or null for its own"
            )
        super().__init__(strides, sizes, ratios)

    def cells(self, levels: Sequence[Sequence[float]], ratios: Sequence[float]) -> list[Tensor]:
        sizes = [size for level in levels for size in level]
        last = sizes[-1] * (sizes[-1] / sizes[-2] if len(sizes) > 1 else 2.0)
        boxes = DefaultBoxGenerator([list(ratios)] * len(sizes), scales=[*sizes, last], clip=False)
        return [torch.cat([-wh, wh], 1) / 2 for wh in boxes._wh_pairs]

    def num_anchors_per_location(self) -> list[int]:
        return [2 + 2 * len(ratios) for ratios in self.aspect_ratios]

    def _fitted(self, wh: np.ndarray, maps: int) -> tuple[list[float], list[float]]:
        sizes, _ = fit_anchors(wh, len(self.strides), 1, 1, maps)
        return sizes, list(self.aspect_ratios[0])


def fit_anchors(
    wh: np.ndarray, levels: int, ratios: int, each: int = 1, fitted: int | None = None
) -> tuple[list[float], list[float]]:
    """Anchor sizes and ratios by k-means on the logarithms of the boxes' sizes and of their ratios.

    Args:
        wh: (N, 2) widths and heights in pixels of the network's images, above 0.
        levels: maps that share the sizes.
        ratios: number of ratios.
        each: sizes of each map.
        fitted: maps, from the finest, whose sizes come from the boxes; sizes of the others double from map to map, and
            so they do where boxes have fewer sizes. Null is all.

    Returns:
        levels * each sizes, ascending, and the ratios height / width, ascending.

    Raises:
        ConfigError: no boxes.
    """
    if len(wh) == 0:
        raise ConfigError("the training data has no boxes to fit anchors to: leave --model.fit_anchors out")
    width, height = np.log(np.asarray(wh, dtype=np.float64)).T
    sizes = _centers((width + height) / 2, (fitted or levels) * each)
    while len(sizes) < levels * each:
        sizes.append(sizes[-1] * 2 ** (1 / each))
    shapes = _centers(height - width, ratios)
    return sizes, [*shapes, *(shapes[-1] * 2**i for i in range(1, ratios - len(shapes) + 1))]


def _centers(logarithms: np.ndarray, count: int) -> list[float]:
    """As many values in the middle of others, ascending; fewer where there are fewer."""
    from sklearn.cluster import KMeans

    # quantiles start alike on every machine
    start = np.unique(np.quantile(logarithms, (np.arange(count) + 0.5) / count).round(6))
    found = KMeans(len(start), init=start[:, None], n_init=1).fit(logarithms[:, None])
    return np.exp(np.unique(found.cluster_centers_[:, 0])).tolist()


def _some(wh: np.ndarray) -> np.ndarray:
    """At most 40,000 of the boxes, float64 (N, 2)."""
    return np.asarray(wh, dtype=np.float64)[:: max(1, len(wh) // 20_000)]


def _levels(sizes: Sequence[float], count: int) -> tuple[tuple[float, ...], ...]:
    """Sizes shared evenly among maps."""
    each = len(sizes) // count
    return tuple(tuple(sizes[i : i + each]) for i in range(0, len(sizes), each))


@lru_cache(maxsize=256)
def _corners(height: int, width: int, stride: int, offset: float, device: torch.device) -> Tensor:
    """(height * width, 1, 4): x, y, x, y of every cell, row by row."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + offset) * stride
    x = (torch.arange(width, device=device, dtype=torch.float32) + offset) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
