"""Detections and ground truth of one image as arrays, and packing of many images into a few tensors."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from faster_coco_eval.core import mask as coco_mask
from torch import Tensor

from modules.contracts import Prediction
from modules.metrics.oks import NO_POINTS, oks

Kind = Literal["boxes", "masks", "keypoints"]
Rle = dict[str, Any]
"""A compressed COCO RLE: {"size": [height, width], "counts": bytes}."""

EMPTY = {
    "found": torch.zeros(0, 6),  # x1, y1, x2, y2, score, label
    "true": torch.zeros(0, 7),  # x1, y1, x2, y2, label, crowd, area
    "images": torch.zeros(0, 3, dtype=torch.int64),  # place, detections, true objects
    "sizes": torch.zeros(0, 2, dtype=torch.int64),  # height, width; of images with masks
    "lengths": torch.zeros(0, dtype=torch.int32),  # bytes of each RLE, of an image's detections, then of its truth
    "codes": torch.zeros(0, dtype=torch.uint8),  # these bytes
    "found_points": torch.zeros(0, 3),  # x, y, score; K rows for each detection, of data with keypoints
    "true_points": torch.zeros(0, 3),  # x, y, visibility
}
"""The tensors of no images. `place` orders the images; those of one place stay in the order they came in."""


class Image(NamedTuple):
    """Detections and ground truth of one image.

    Args:
        boxes: float64 (D, 4), x, y, width, height in pixels; the highest score first.
        scores: float64 (D,).
        labels: int64 (D,).
        true_boxes: float64 (G, 4), as `boxes`.
        true_labels: int64 (G,).
        crowd: bool (G,), regions of objects that are not counted.
        area: float64 (G,), of the annotations, in pixels.
        rle: D masks; none when there are only boxes.
        true_rle: G masks; none when there are only boxes.
        size: height and width; 0, 0 when there are only boxes.
        points: float64 (D, K, 3), x, y and score of the keypoints; K = 0 where there are none.
        true_points: float64 (G, K, 3), x, y and COCO's visibility flag.
        sigmas: float64 (K,), of the keypoints, as `oks.oks` says.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray
    crowd: np.ndarray
    area: np.ndarray
    rle: list[Rle] = []
    true_rle: list[Rle] = []
    size: tuple[int, int] = (0, 0)
    points: np.ndarray = NO_POINTS
    true_points: np.ndarray = NO_POINTS
    sigmas: np.ndarray = NO_POINTS[..., 0, 0]

    def overlaps(self, kind: Kind) -> np.ndarray:
        """IoU of each detection with each true object, whatever their classes, float64 (D, G); of keypoints the OKS.

        With a crowd the IoU is the share of the detection that lies inside, as in COCO.
        """
        if not len(self.labels) or not len(self.true_labels):
            return np.zeros((len(self.labels), len(self.true_labels)))
        if kind == "keypoints":
            return oks(self.points, self.true_points, self.true_boxes, self.area, self.sigmas)
        found, true = (self.rle, self.true_rle) if kind == "masks" else (self.boxes, self.true_boxes)
        return np.asarray(coco_mask.iou(found, true, self.crowd.astype(int).tolist()))

    def found_areas(self, kind: Kind) -> np.ndarray:
        """Area of each detection (D,), as COCO's: of its box, its mask, or the box around its keypoints."""
        if kind == "masks":
            return np.asarray(coco_mask.area(self.rle), np.float64)
        if kind == "keypoints":
            return np.ptp(self.points[..., :2], axis=1).prod(1) if len(self.points) else np.zeros(0)
        return self.boxes[:, 2:].prod(1)

    def ignored(self, kind: Kind) -> np.ndarray:
        """Objects that are not counted, bool (G,): crowds and, for keypoints, those without a labeled one."""
        return self.crowd | ~self.labeled.any(1) if kind == "keypoints" else self.crowd

    @property
    def labeled(self) -> np.ndarray:
        """Keypoints of the true objects that are labeled, bool (G, K)."""
        return self.true_points[..., 2] > 0

    def of_class(self, label: int, maximum: int) -> "Image":
        """Objects of one class, and its `maximum` detections of the highest scores."""
        found, true = np.flatnonzero(self.labels == label)[:maximum], np.flatnonzero(self.true_labels == label)
        return self._replace(
            **{name: getattr(self, name)[found] for name in ("boxes", "scores", "labels")},
            **{name: getattr(self, name)[true] for name in ("true_boxes", "true_labels", "crowd", "area")},
            rle=[self.rle[i] for i in found] if self.rle else [],
            true_rle=[self.true_rle[i] for i in true] if self.true_rle else [],
            points=self.points[found] if len(self.points) else self.points,
            true_points=self.true_points[true] if len(self.true_points) else self.true_points,
        )


def pack(
    predictions: Prediction, truths: list[dict[str, Any]], masks: bool, keypoints: bool = False
) -> dict[str, Tensor]:
    """Pack a batch into tensors on the CPU, those of `parts_of`; of no images none.

    Args:
        predictions: lists over images: `boxes`, `scores`, `labels` and, with masks, `rle`, with keypoints `keypoints`.
        truths: a dict for each image: `boxes`, `labels`, `crowd`, `area` and likewise `rle` and `keypoints`.
        masks: pack masks too.
        keypoints: pack keypoints too.

    Raises:
        ValueError: the lists of an image differ in length, or its masks in size.
    """
    more = [key for key, wanted in (("rle", masks), ("keypoints", keypoints)) if wanted]
    found = {key: predictions[key] for key in ("boxes", "scores", "labels", *more)}
    true = {key: [truth[key] for truth in truths] for key in ("boxes", "labels", "crowd", "area", *more)}
    counts = [[0] * len(truths), _counts(found, len(truths)), _counts(true, len(truths))]
    if not truths:
        return {}
    codes = _pack_masks(found.pop("rle"), true.pop("rle")) if masks else {}
    if keypoints:
        both = {"found_points": found.pop("keypoints"), "true_points": true.pop("keypoints")}
        codes |= {
            name: torch.cat([p.reshape(-1, 3) for p in each]).detach().float().cpu() for name, each in both.items()
        }
    tables = {"found": _table(found), "true": _table(true)}
    return tables | {"images": torch.tensor(counts).T} | codes


def parts_of(kinds: Collection[Kind]) -> list[str]:
    """Names of the tensors of `EMPTY` that these kinds need."""
    masks, points = ("sizes", "lengths", "codes"), ("found_points", "true_points")
    return ["found", "true", "images", *(masks if "masks" in kinds else ()), *(points if "keypoints" in kinds else ())]


def unpack(packed: dict[str, Tensor], sigmas: Sequence[float] = ()) -> list[Image]:
    """The images of `pack`, or of several packs one behind the other, in order of their places.

    Args:
        packed: tensors by name.
        sigmas: of the keypoints, K of them.
    """
    arrays = {name: tensor.numpy() for name, tensor in packed.items()}
    places, counts = arrays["images"][:, 0], arrays["images"][:, 1:]
    found, true = (_split(arrays[name], counts[:, i]) for i, name in enumerate(("found", "true")))
    masks = _unpack_masks(arrays, counts) if "codes" in arrays else [([], [], (0, 0))] * len(places)
    points = _unpack_points(arrays, counts, np.array(sigmas, np.float64))
    images = [_image(*tables, *rest, *p) for *tables, rest, p in zip(found, true, masks, points, strict=True)]
    return [images[i] for i in np.argsort(places, kind="stable")]


def _counts(lists: dict[str, list], images: int) -> list[int]:
    """Number of objects of each image, validated across all lists."""
    lengths = {key: [len(entry) for entry in entries] for key, entries in lists.items()}
    for key, length in lengths.items():
        if len(length) != images or length != lengths["boxes"]:
            raise ValueError(
                f"{images} images have {lengths['boxes']} `boxes`, but {length} `{key}`; give as many of each"
            )
    return lengths["boxes"]


def _table(columns: dict[str, list[Tensor]]) -> Tensor:
    """float32 (N, columns) on the CPU, in one transfer."""
    parts = [torch.cat(entries).detach().float() for entries in columns.values()]
    return torch.cat([part if part.ndim == 2 else part[:, None] for part in parts], 1).cpu()


def _pack_masks(found: list[list[Rle]], true: list[list[Rle]]) -> dict[str, Tensor]:
    images = [[*pair[0], *pair[1]] for pair in zip(found, true, strict=True)]
    sizes = [sorted({tuple(mask["size"]) for mask in masks}) or [(0, 0)] for masks in images]
    for i, different in enumerate(sizes):
        if len(different) > 1:
            raise ValueError(
                f"image {i} of the batch has masks of {different} pixels (height, width); "
                "give those of detections and truth in pixels of the original image"
            )
    codes = [mask["counts"] for masks in images for mask in masks]
    return {
        "sizes": torch.tensor([different[0] for different in sizes]),
        "lengths": torch.tensor([len(code) for code in codes], dtype=torch.int32),
        "codes": torch.from_numpy(np.frombuffer(b"".join(codes), np.uint8).copy()),
    }


def _unpack_masks(arrays: dict[str, np.ndarray], counts: np.ndarray) -> list[tuple[list[Rle], list[Rle], tuple]]:
    codes, ends = arrays["codes"].tobytes(), arrays["lengths"].cumsum(dtype=np.int64).tolist()
    each = iter([codes[start:end] for start, end in pairwise([0, *ends])])
    images = []
    for size, pair in zip(arrays["sizes"].tolist(), counts.tolist(), strict=True):
        found, true = ([{"size": size, "counts": next(each)} for _ in range(count)] for count in pair)
        images.append((found, true, tuple(size)))
    return images


def _unpack_points(arrays: dict[str, np.ndarray], counts: np.ndarray, sigmas: np.ndarray) -> list[tuple]:
    if "true_points" not in arrays:
        return [(NO_POINTS, NO_POINTS, sigmas)] * len(counts)
    tables = (arrays[name].reshape(-1, len(sigmas), 3).astype(np.float64) for name in ("found_points", "true_points"))
    found, true = (_split(table, counts[:, i]) for i, table in enumerate(tables))
    return [(f, t, sigmas) for f, t in zip(found, true, strict=True)]


def _split(table: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    return np.split(table, counts.cumsum()[:-1]) if len(counts) else []


def _image(
    found: np.ndarray,
    true: np.ndarray,
    rle: list[Rle],
    true_rle: list[Rle],
    size: tuple,
    points: np.ndarray,
    true_points: np.ndarray,
    sigmas: np.ndarray,
) -> Image:
    order = np.argsort(-found[:, 4], kind="stable")
    found, true = found[order].astype(np.float64), true.astype(np.float64)
    return Image(
        boxes=_xywh(found),
        scores=found[:, 4],
        labels=found[:, 5].astype(np.int64),
        true_boxes=_xywh(true),
        true_labels=true[:, 4].astype(np.int64),
        crowd=true[:, 5] > 0,
        area=true[:, 6],
        rle=[rle[i] for i in order] if rle else [],
        true_rle=true_rle,
        size=size,
        points=points[order] if len(points) else points,
        true_points=true_points,
        sigmas=sigmas,
    )


def _xywh(table: np.ndarray) -> np.ndarray:
    """A box that is reversed has no width or height, and so overlaps with nothing."""
    return np.concatenate([table[:, :2], (table[:, 2:4] - table[:, :2]).clip(0)], 1)
