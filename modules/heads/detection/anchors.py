"""The boxes that detectors start from, and their shapes fitted to data."""

import warnings
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from modules.contracts import ConfigError


class Anchors(AnchorGenerator):
    """The same shapes at every cell of a map: torchvision's anchors, in float32 and with strides that are known.

    torchvision's guesses strides from the sizes of picture and maps, which is right only for whole cells, and takes the
    type of the maps: in bfloat16, anchors would be off by pixels. Shapes are a buffer, so that a checkpoint remembers
    those that were fitted to its data.

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
                f"head.anchor_sizes is {list(sizes)}, but needs sizes above 0 for {len(strides)} maps: as many each"
            )
        if not len(ratios) or min(ratios) <= 0:
            raise ConfigError(f"head.ratios is {list(ratios)}, but needs at least one, and only above 0")
        each = len(sizes) // len(strides)
        levels = tuple(tuple(sizes[i : i + each]) for i in range(0, len(sizes), each))
        super().__init__(levels, (tuple(ratios),) * len(strides))
        self.strides = tuple(strides)
        self.register_buffer("shapes", torch.cat(self.cells(levels, ratios)))

    def cells(self, levels: Sequence[Sequence[float]], ratios: Sequence[float]) -> list[Tensor]:
        """Boxes (A, 4) around 0 of each map."""
        # whole pixels, as torchvision has them, but not zero
        halves = [self.generate_anchors(sizes, ratios)[:, 2:].clamp(min=0.5) for sizes in levels]
        return [torch.cat([-half, half], 1) for half in halves]

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Anchors float32 (sum over maps of h * w * A, 4) xyxy of each picture; all are the same tensor."""
        parts = [
            (_corners(*feature_map.shape[-2:], stride, self.offset, self.shapes.device) + shapes).reshape(-1, 4)
            for feature_map, stride, shapes in zip(
                feature_maps, self.strides, self.shapes.split(self.num_anchors_per_location()), strict=True
            )
        ]
        return [torch.cat(parts)] * len(image_list.image_sizes)

    def fit(self, wh: np.ndarray) -> str:
        """Takes sizes and ratios that suit boxes (N, 2) of these widths and heights; says what that changes.

        Shapes that were there stay when the fitted ones overlap less with the boxes.
        """
        each, ratios = len(self.sizes[0]), len(self.aspect_ratios[0])
        return self._take(wh, *fit_anchors(wh, len(self.strides), ratios, each))

    def _take(self, wh: np.ndarray, sizes: list[float], ratios: list[float]) -> str:
        each = len(self.sizes[0])
        levels = [sizes[i : i + each] for i in range(0, len(sizes), each)]
        fitted = torch.cat(self.cells(levels, ratios))
        (overlap, found), (fitted_overlap, fitted_found) = (_coverage(wh, _wh(s)) for s in (self.shapes, fitted))
        if fitted_overlap < overlap:
            return (
                f"anchors stay as they are: mean IoU {overlap:.3f} with {len(wh):,} boxes, {fitted_overlap:.3f} fitted"
            )
        self.shapes.copy_(fitted)
        said = " ".join(f"{size:.0f}" for size in sizes), " ".join(f"{ratio:.2f}" for ratio in ratios)
        return (
            f"anchors fitted to {len(wh):,} boxes: sizes {said[0]}, ratios {said[1]}; recall at IoU 0.5 "
            f"{found:.1%} -> {fitted_found:.1%}, mean IoU {overlap:.3f} -> {fitted_overlap:.3f}"
        )


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
                f"head.anchor_sizes has {len(sizes)} values, but SSD takes one for each of {len(strides)} maps"
            )
        super().__init__(strides, sizes, ratios)

    def cells(self, levels: Sequence[Sequence[float]], ratios: Sequence[float]) -> list[Tensor]:
        sizes = [size for level in levels for size in level]
        last = sizes[-1] * (sizes[-1] / sizes[-2] if len(sizes) > 1 else 2.0)
        boxes = DefaultBoxGenerator([list(ratios)] * len(sizes), scales=[*sizes, last], clip=False)
        return [torch.cat([-wh, wh], 1) / 2 for wh in boxes._wh_pairs]

    def num_anchors_per_location(self) -> list[int]:
        return [2 + 2 * len(ratios) for ratios in self.aspect_ratios]

    def fit(self, wh: np.ndarray) -> str:
        sizes, _ = fit_anchors(wh, len(self.strides), 1)
        return self._take(wh, sizes, list(self.aspect_ratios[0]))


def fit_anchors(wh: np.ndarray, levels: int, ratios: int, each: int = 1) -> tuple[list[float], list[float]]:
    """Anchor sizes and ratios by k-means on the logarithms of the boxes' sizes and of their ratios.

    Args:
        wh: (N, 2) widths and heights in pixels of the network's pictures, above 0.
        levels: maps that share the sizes.
        ratios: how many.
        each: sizes of each map.

    Returns:
        levels * each sizes, ascending, and the ratios height / width, ascending.

    Raises:
        ConfigError: no boxes.
    """
    if len(wh) == 0:
        raise ConfigError("anchors cannot be fitted: the training pictures have no boxes")
    width, height = np.log(np.asarray(wh, dtype=np.float64)).T
    sizes = np.exp(_centres((width + height) / 2, levels * each))
    return _spread(sizes, levels * each), _spread(np.exp(_centres(height - width, ratios)), ratios)


def _centres(values: np.ndarray, count: int) -> np.ndarray:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(values.round(6)))
    start = np.quantile(values, (np.arange(min(count, distinct)) + 0.5) / min(count, distinct))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantiles may coincide: fewer clusters than asked for
        found = KMeans(len(start), init=start[:, None], n_init=1).fit(values[:, None])
    return np.unique(found.cluster_centers_[:, 0].round(6))


def _spread(values: np.ndarray, count: int) -> list[float]:
    """As many values as wanted, ascending: where the boxes are more alike than that, each further one is the double."""
    values = sorted(values.tolist())
    while len(values) < count:
        values.append(2 * values[-1])
    return values


def _wh(shapes: Tensor) -> np.ndarray:
    return (shapes[:, 2:] - shapes[:, :2]).cpu().numpy()


def _coverage(wh: np.ndarray, shapes: np.ndarray) -> tuple[float, float]:
    """Mean IoU of boxes (N, 2) with the best of the shapes (A, 2) at the same place; share of them above 0.5."""
    overlap = np.minimum(wh[:, None], shapes).prod(2)
    iou = (overlap / (wh.prod(1)[:, None] + shapes.prod(1) - overlap)).max(1)
    return float(iou.mean()), float((iou >= 0.5).mean())


@lru_cache(maxsize=256)
def _corners(height: int, width: int, stride: int, offset: float, device: torch.device) -> Tensor:
    """(height * width, 1, 4): x, y, x, y of every cell, row by row."""
    y = (torch.arange(height, device=device, dtype=torch.float32) + offset) * stride
    x = (torch.arange(width, device=device, dtype=torch.float32) + offset) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, x, y], -1).reshape(-1, 1, 4)
